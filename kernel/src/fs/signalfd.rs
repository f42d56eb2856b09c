//! signalfd(2).
