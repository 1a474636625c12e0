terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "5.100.0"
    }
  }
}

variable "endpoint" {
  description = "Where Lath serves the AWS APIs."
}

variable "status" {
  description = "What the service answers."
  default     = 404
}

provider "aws" {
  region                  = "us-east-1"
  skip_metadata_api_check = true
  endpoints {
    acm        = var.endpoint
    ec2        = var.endpoint
    iam        = var.endpoint
    route53    = var.endpoint
    sts        = var.endpoint
    vpclattice = var.endpoint
  }
}

data "aws_ami" "linux" {
  most_recent = true
  owners      = ["amazon"]
  filter {
    name   = "name"
    values = ["al2023-ami-2023.*-x86_64"]
  }
}

resource "aws_vpc" "this" {
  cidr_block           = "10.71.0.0/16"
  enable_dns_hostnames = true
}

resource "aws_subnet" "this" {
  vpc_id     = aws_vpc.this.id
  cidr_block = "10.71.0.0/24"
}

resource "aws_instance" "client" {
  ami           = data.aws_ami.linux.id
  instance_type = "t3.micro"
  subnet_id     = aws_subnet.this.id
}

resource "aws_route53_zone" "this" {
  name = "terraform.test"
}

resource "aws_acm_certificate" "this" {
  domain_name               = "shop.terraform.test"
  subject_alternative_names = ["*.shop.terraform.test"]
  validation_method         = "DNS"
  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_route53_record" "validation" {
  # The name and its wildcard have the same record.
  for_each = { for it in aws_acm_certificate.this.domain_validation_options : it.domain_name => it if !startswith(it.domain_name, "*.") }
  zone_id  = aws_route53_zone.this.zone_id
  name     = each.value.resource_record_name
  type     = each.value.resource_record_type
  records  = [each.value.resource_record_value]
  ttl      = 60
}

resource "aws_acm_certificate_validation" "this" {
  certificate_arn         = aws_acm_certificate.this.arn
  validation_record_fqdns = [for it in aws_route53_record.validation : it.fqdn]
}

resource "aws_vpclattice_service" "shop" {
  name               = "tf-shop"
  custom_domain_name = "shop.terraform.test"
  certificate_arn    = aws_acm_certificate_validation.this.certificate_arn
}

resource "aws_vpclattice_listener" "https" {
  name               = "https"
  protocol           = "HTTPS"
  port               = 443
  service_identifier = aws_vpclattice_service.shop.id
  default_action {
    fixed_response {
      status_code = var.status
    }
  }
}

resource "aws_vpclattice_service_network" "this" {
  name = "tf-https"
}

resource "aws_vpclattice_service_network_service_association" "shop" {
  service_identifier         = aws_vpclattice_service.shop.id
  service_network_identifier = aws_vpclattice_service_network.this.id
}

resource "aws_vpclattice_service_network_vpc_association" "clients" {
  vpc_identifier             = aws_vpc.this.id
  service_network_identifier = aws_vpclattice_service_network.this.id
}

output "client" {
  value = aws_instance.client.id
}

output "name" {
  value = aws_vpclattice_service.shop.dns_entry[0].domain_name
}
