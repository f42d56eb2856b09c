//! nsfs: namespaces as files (`/proc/PID/ns/*`).
