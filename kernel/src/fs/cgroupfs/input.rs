//! What programs write into the files of a group.

use crate::errno::{Errno, Result};
use crate::task::cgroup::Limit;
use crate::task::cgroup::control::Controllers;

/// Text without blanks around it. `EINVAL` for what is no text.
pub fn text(bytes: &[u8]) -> Result<&str> {
    core::str::from_utf8(bytes).map(|text| text.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\0')).map_err(|_| Errno::INVAL)
}

/// A whole number, as far as an `int` goes. `EINVAL`, and `ERANGE` for one that is too large.
pub fn integer(text: &str) -> Result<i32> {
    let wide: i64 = text.parse().map_err(|_| Errno::INVAL)?;
    i32::try_from(wide).map_err(|_| Errno::RANGE)
}

/// 0 or 1. `ERANGE` for other numbers.
pub fn switch(text: &str) -> Result<bool> {
    match integer(text)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Errno::RANGE),
    }
}

/// "max" or a number that is not negative. `ERANGE` for a negative one.
pub fn size_limit(text: &str) -> Result<Limit> {
    if text == "max" {
        return Ok(None);
    }
    u64::try_from(integer(text)?).map(Some).map_err(|_| Errno::RANGE)
}

/// "max" or a number of bytes, perhaps with K, M, G, T behind it. `EINVAL` for anything else.
pub fn bytes_limit(text: &str) -> Result<Limit> {
    if text == "max" {
        return Ok(None);
    }
    let (number, shift) = match text.strip_suffix(['k', 'K', 'm', 'M', 'g', 'G', 't', 'T']) {
        Some(number) => (number, 10 * (1 + "kmgt".find(text[number.len()..].to_ascii_lowercase().as_str()).unwrap_or(0))),
        None => (text, 0),
    };
    let number: u64 = number.parse().map_err(|_| Errno::INVAL)?;
    // What does not fit is as good as no limit.
    Ok(number.checked_mul(1 << shift))
}

/// Words with a sign in front, `+` to enable and `-` to disable; of two for one controller the last counts. `EINVAL` for anything else.
pub fn controllers(text: &str) -> Result<(Controllers, Controllers)> {
    let (mut enable, mut disable) = (Controllers::empty(), Controllers::empty());
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let (on, name) = match word.split_at_checked(1) {
            Some(("+", name)) => (true, name),
            Some(("-", name)) => (false, name),
            _ => return Err(Errno::INVAL),
        };
        let controller = Controllers::named(name).ok_or(Errno::INVAL)?;
        enable.set(controller, on);
        disable.set(controller, !on);
    }
    Ok((enable, disable))
}
