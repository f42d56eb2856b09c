//! Nothing, in the place of a dependency that nobody uses: see this package's manifest.
#![no_std]
