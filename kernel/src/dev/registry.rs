//! Device numbers and what opens behind them.
