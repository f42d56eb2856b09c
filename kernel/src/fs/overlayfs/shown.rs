//! The options as mountinfo and mounts show them: those that are not the default, in a fixed order, each with its comma in front.

use super::options::{Options, Redirects, Uuid, Verity, Xino};
use core::fmt::{Result, Write};

impl Options {
    /// Writes the options; `same_file_system`: of all layers, which makes `xino` mean nothing.
    pub fn show(&self, same_file_system: bool, out: &mut dyn Write) -> Result {
        match &self.lower_text {
            Some(text) => show_name(out, "lowerdir", text)?,
            None => self.lower.iter().try_for_each(|layer| {
                let key = if layer.is_data { "datadir+" } else { "lowerdir+" };
                show_name(out, key, &layer.path)
            })?,
        }
        if let (Some(upper), Some(work)) = (&self.upper, &self.work) {
            show_name(out, "upperdir", &super::options::unescape(upper))?;
            show_name(out, "workdir", &super::options::unescape(work))?;
        }
        self.modes(same_file_system).iter().filter(|(on, _)| *on).try_for_each(|(_, text)| out.write_str(text))
    }

    fn modes(&self, same_file_system: bool) -> [(bool, &'static str); 14] {
        [
            (self.default_permissions, ",default_permissions"),
            (self.redirects == Redirects::On, ",redirect_dir=on"),
            (self.redirects == Redirects::NoFollow, ",redirect_dir=nofollow"),
            (self.index, ",index=on"),
            (self.uuid == Uuid::On, ",uuid=on"),
            (self.uuid == Uuid::Null, ",uuid=null"),
            (self.uuid == Uuid::Off, ",uuid=off"),
            (self.nfs_export, ",nfs_export=on"),
            (self.xino == Xino::On && !same_file_system, ",xino=on"),
            (self.xino == Xino::Auto && !same_file_system, ",xino=auto"),
            (self.metacopy, ",metacopy=on"),
            (self.volatile, ",volatile"),
            (self.user_marks, ",userxattr"),
            (self.verity != Verity::Off, if self.verity == Verity::On { ",verity=on" } else { ",verity=require" }),
        ]
    }
}

/// A name in the tables: what would break them is octal (`seq_show_option` of Linux).
fn show_name(out: &mut dyn Write, key: &str, name: &[u8]) -> Result {
    write!(out, ",{key}=")?;
    for &byte in name {
        match byte {
            b',' | b' ' | b'\t' | b'\n' | b'\\' => write!(out, "\\{byte:03o}")?,
            byte if byte.is_ascii() => out.write_char(char::from(byte))?,
            // The writer takes text: what is not ASCII is octal too.
            byte => write!(out, "\\{byte:03o}")?,
        }
    }
    Ok(())
}
