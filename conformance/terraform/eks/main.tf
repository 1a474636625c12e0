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

variable "nodes" {
  default = 1
}

provider "aws" {
  region                  = "us-east-1"
  skip_metadata_api_check = true
  endpoints {
    ec2  = var.endpoint
    ecr  = var.endpoint
    eks  = var.endpoint
    iam  = var.endpoint
    sts  = var.endpoint
    logs = var.endpoint
  }
}
resource "aws_vpc" "this" {
  cidr_block           = "10.70.0.0/16"
  enable_dns_support   = true
  enable_dns_hostnames = true
}
resource "aws_subnet" "this" {
  count                   = 2
  vpc_id                  = aws_vpc.this.id
  cidr_block              = "10.70.${count.index}.0/24"
  availability_zone       = "us-east-1${["a", "b"][count.index]}"
  map_public_ip_on_launch = true
}
resource "aws_iam_role" "this" {
  for_each = { cluster = ["eks.amazonaws.com", ["sts:AssumeRole"]], nodes = ["ec2.amazonaws.com", ["sts:AssumeRole"]], pods = ["pods.eks.amazonaws.com", ["sts:AssumeRole", "sts:TagSession"]] }
  name     = "tf-${each.key}"
  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Principal = { Service = each.value[0] }, Action = each.value[1] }]
  })
}
resource "aws_iam_role_policy_attachment" "this" {
  for_each   = { AmazonEKSClusterPolicy = "cluster", AmazonEKSWorkerNodePolicy = "nodes", AmazonEKS_CNI_Policy = "nodes", AmazonEC2ContainerRegistryReadOnly = "nodes" }
  role       = aws_iam_role.this[each.value].name
  policy_arn = "arn:aws:iam::aws:policy/${each.key}"
}
resource "aws_eks_cluster" "this" {
  name                      = "tf"
  role_arn                  = aws_iam_role.this["cluster"].arn
  enabled_cluster_log_types = ["api", "audit"]
  access_config {
    authentication_mode                         = "API_AND_CONFIG_MAP"
    bootstrap_cluster_creator_admin_permissions = true
  }
  vpc_config {
    subnet_ids              = aws_subnet.this[*].id
    endpoint_private_access = true
    endpoint_public_access  = true
  }
  tags       = { env = "test" }
  depends_on = [aws_iam_role_policy_attachment.this]
}
resource "aws_security_group" "nodes" {
  name_prefix = "nodes-"
  vpc_id      = aws_vpc.this.id
  egress {
    from_port   = 0
    to_port     = 0
    protocol    = "-1"
    cidr_blocks = ["0.0.0.0/0"]
  }
  tags = { env = "test" }
}
resource "aws_launch_template" "nodes" {
  name_prefix            = "nodes-"
  description            = "of the workers"
  update_default_version = true
  vpc_security_group_ids = [aws_eks_cluster.this.vpc_config[0].cluster_security_group_id, aws_security_group.nodes.id]
  block_device_mappings {
    device_name = "/dev/xvda"
    ebs {
      volume_size           = 30
      volume_type           = "gp3"
      delete_on_termination = true
    }
  }
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 2
  }
  monitoring { enabled = true }
  dynamic "tag_specifications" {
    for_each = ["instance", "network-interface", "volume"]
    content {
      resource_type = tag_specifications.value
      tags          = { Name = "workers" }
    }
  }
  tags = { env = "test" }
}
resource "aws_ecr_repository" "this" {
  name                 = "tf/web"
  image_tag_mutability = "IMMUTABLE"
  force_delete         = true
  image_scanning_configuration { scan_on_push = false }
  tags = { env = "test" }
}
resource "aws_eks_node_group" "this" {
  cluster_name    = aws_eks_cluster.this.name
  node_group_name = "workers"
  node_role_arn   = aws_iam_role.this["nodes"].arn
  subnet_ids      = aws_subnet.this[*].id
  instance_types  = ["m5.large"]
  launch_template {
    id      = aws_launch_template.nodes.id
    version = aws_launch_template.nodes.latest_version
  }
  scaling_config {
    desired_size = var.nodes
    max_size     = 3
    min_size     = 1
  }
  update_config { max_unavailable = 1 }
  labels = { tier = "web" }
  taint {
    key    = "dedicated"
    value  = "web"
    effect = "PREFER_NO_SCHEDULE"
  }
  depends_on = [aws_iam_role_policy_attachment.this]
}
resource "aws_eks_addon" "this" {
  for_each                    = toset(["coredns", "kube-proxy", "vpc-cni"])
  cluster_name                = aws_eks_cluster.this.name
  addon_name                  = each.key
  resolve_conflicts_on_create = "OVERWRITE"
  depends_on                  = [aws_eks_node_group.this]
}
resource "aws_eks_access_entry" "this" {
  cluster_name      = aws_eks_cluster.this.name
  principal_arn     = aws_iam_role.this["pods"].arn
  kubernetes_groups = ["viewers"]
}
resource "aws_eks_access_policy_association" "this" {
  cluster_name  = aws_eks_cluster.this.name
  policy_arn    = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy"
  principal_arn = aws_eks_access_entry.this.principal_arn
  access_scope {
    type       = "namespace"
    namespaces = ["default"]
  }
}
resource "aws_eks_pod_identity_association" "this" {
  cluster_name    = aws_eks_cluster.this.name
  namespace       = "default"
  service_account = "web"
  role_arn        = aws_iam_role.this["pods"].arn
}
resource "aws_iam_openid_connect_provider" "this" {
  url             = aws_eks_cluster.this.identity[0].oidc[0].issuer
  client_id_list  = ["sts.amazonaws.com"]
  thumbprint_list = ["9e99a48a9960b14926bb7f3b02e22da2b0ab7280"]
}
data "aws_eks_cluster_auth" "this" { name = aws_eks_cluster.this.name }
output "endpoint" { value = aws_eks_cluster.this.endpoint }
