//! Opening: `open(2)` once the name is known, `O_CREAT`, `O_TMPFILE`, device nodes.
