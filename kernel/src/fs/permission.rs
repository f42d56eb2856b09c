//! Who may do what to a file: mode bits, sticky, capabilities, access(2).
