//! A mount and its unmount that many other mounts receive.

use crate::calls::{self, Namespace};
use crate::directory;
use crate::meter::Meter;
use std::io::Result;

/// `size` mounts in one namespace receive: peers of the mount that it happens on, or slaves of it.
pub(crate) fn measure(meter: &Meter, name: &str, size: usize, kind: u64) -> Result<()> {
    let (origin, receivers) = (directory(&format!("{name}{size}"))?, directory(&format!("{name}-of{size}"))?);
    calls::mount("receivers", &receivers, "tmpfs", 0)?;
    let place = shared_origin(&origin)?;
    for number in 0..size {
        let target = format!("{receivers}/{number}");
        std::fs::create_dir(&target)?;
        calls::mount(&origin, &target, "", libc::MS_BIND)?;
        if kind == libc::MS_SLAVE {
            calls::mount("", &target, "", libc::MS_SLAVE)?;
        }
    }
    measure_place(meter, name, size, &place)?;
    calls::umount(&receivers, libc::MNT_DETACH)?;
    calls::umount(&origin, libc::MNT_DETACH)
}

/// The copies of a mount in each of `size` namespaces receive.
pub(crate) fn measure_namespaces(meter: &Meter, size: usize) -> Result<()> {
    let origin = directory(&format!("namespaces{size}"))?;
    let place = shared_origin(&origin)?;
    let home = Namespace::current()?;
    let mut others = Vec::new();
    for _ in 0..size {
        calls::unshare_mounts()?;
        others.push(Namespace::current()?);
        home.enter()?;
    }
    measure_place(meter, "namespaces", size, &place)?;
    drop(others);
    calls::umount(&origin, libc::MNT_DETACH)
}

/// A shared tmpfs, and a directory in it to mount on.
fn shared_origin(origin: &str) -> Result<String> {
    calls::mount("origin", origin, "tmpfs", 0)?;
    let place = format!("{origin}/place");
    std::fs::create_dir(&place)?;
    calls::mount("", origin, "", libc::MS_SHARED)?;
    Ok(place)
}

fn measure_place(meter: &Meter, name: &str, size: usize, place: &str) -> Result<()> {
    let mount = || calls::mount("t", place, "tmpfs", 0);
    let umount = || calls::umount(place, 0);
    meter.row(&format!("mount-into-{name}"), size, size, mount, umount)?;
    mount()?;
    meter.row(&format!("umount-from-{name}"), size, size, umount, mount)?;
    umount()
}
