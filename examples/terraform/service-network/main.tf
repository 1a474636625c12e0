# Two VPCs with the same addresses and no route between them, joined by a VPC Lattice service network.
#
#   eval "$(sudo lath env)"
#   terraform init && terraform apply
#   sudo lath exec "$(terraform output -raw client)" -- curl -s "$(terraform output -raw url)"
#   terraform destroy
#
# Against AWS: leave out the endpoints.
terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100.0"
    }
  }
}

variable "endpoint" {
  description = "Where Lath serves the AWS APIs."
  default     = "http://127.0.0.1:4566"
}

provider "aws" {
  region                  = "us-east-1"
  skip_metadata_api_check = true
  endpoints {
    ec2        = var.endpoint
    iam        = var.endpoint
    sts        = var.endpoint
    vpclattice = var.endpoint
  }
}

locals {
  port = 8080
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
  for_each             = toset(["clients", "shop"])
  cidr_block           = "10.0.0.0/16"
  enable_dns_hostnames = true
  tags                 = { Name = each.key }
}

resource "aws_subnet" "this" {
  for_each   = aws_vpc.this
  vpc_id     = each.value.id
  cidr_block = "10.0.0.0/24"
}

resource "aws_security_group" "shop" {
  name        = "shop"
  description = "Requests of the service network"
  vpc_id      = aws_vpc.this["shop"].id
  ingress {
    protocol    = "tcp"
    from_port   = local.port
    to_port     = local.port
    cidr_blocks = ["0.0.0.0/0"]
  }
}

resource "aws_instance" "client" {
  ami           = data.aws_ami.linux.id
  instance_type = "t3.micro"
  subnet_id     = aws_subnet.this["clients"].id
}

resource "aws_instance" "server" {
  ami                    = data.aws_ami.linux.id
  instance_type          = "t3.micro"
  subnet_id              = aws_subnet.this["shop"].id
  vpc_security_group_ids = [aws_security_group.shop.id]
  user_data              = <<-END
    #!/bin/bash
    mkdir -p /srv/shop && cd /srv/shop && echo "the shop is open" >index.html
    nohup python3 -m http.server ${local.port} >/var/log/shop.log 2>&1 </dev/null &
  END
}

resource "aws_vpclattice_target_group" "shop" {
  name = "shop"
  type = "IP"
  config {
    port           = local.port
    protocol       = "HTTP"
    vpc_identifier = aws_vpc.this["shop"].id
    health_check {
      path                          = "/"
      health_check_interval_seconds = 5
      healthy_threshold_count       = 2
    }
  }
}

resource "aws_vpclattice_target_group_attachment" "shop" {
  target_group_identifier = aws_vpclattice_target_group.shop.id
  target {
    id   = aws_instance.server.private_ip
    port = local.port
  }
}

resource "aws_vpclattice_service" "shop" {
  name = "shop"
}

resource "aws_vpclattice_listener" "http" {
  name               = "http"
  protocol           = "HTTP"
  port               = 80
  service_identifier = aws_vpclattice_service.shop.id
  default_action {
    forward {
      target_groups {
        target_group_identifier = aws_vpclattice_target_group.shop.id
        weight                  = 100
      }
    }
  }
}

resource "aws_vpclattice_service_network" "this" {
  name = "example"
}

resource "aws_vpclattice_service_network_service_association" "shop" {
  service_identifier         = aws_vpclattice_service.shop.id
  service_network_identifier = aws_vpclattice_service_network.this.id
}

resource "aws_vpclattice_service_network_vpc_association" "clients" {
  vpc_identifier             = aws_vpc.this["clients"].id
  service_network_identifier = aws_vpclattice_service_network.this.id
}

output "client" {
  value = aws_instance.client.id
}

output "url" {
  value = "http://${aws_vpclattice_service.shop.dns_entry[0].domain_name}/"
}
