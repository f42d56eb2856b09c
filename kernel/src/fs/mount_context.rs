//! fsopen, fsconfig, fsmount, fspick: contexts and their message logs.
