//! Builds guest images and boots kernels with them.
fn main() {}
