//! Terminals: line discipline, job control, pseudoterminals.
