//! devtmpfs: one instance, the nodes of all devices.
