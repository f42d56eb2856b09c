//! Signals: sets, handlers, pending queues, delivery.
