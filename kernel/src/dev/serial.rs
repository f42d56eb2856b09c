//! The 16550 UART.
