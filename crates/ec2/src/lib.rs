//! lath-ec2.
