//! The vDSO (`vdso(7)`): a shared object that every program finds in its memory, with functions that tell the time without a system
//! call. `code` is what runs in programs, `clock_page` what it reads; this file maps both.
//!
//! A program in a time namespace whose clocks are shifted gets a page that sends it to the kernel.

mod clock_page;
#[cfg(vdso)]
mod code;

pub use clock_page::{Clock, SHIFT};

use crate::errno::{Errno, Result};
use crate::mm::address_space::{Backing, FaultError, MapRequest, MappedFile, Mappings, PageSource, Protection};
use crate::mm::{AddressSpace, Frame, PAGE_SIZE_BYTES};
use crate::sync::Once;
use crate::task::time_namespace::{Offsets, TimeNamespace};
use alloc::sync::Arc;
use alloc::vec::Vec;
use clock_page::ClockPage;

/// The image, as `build.rs` had it compiled and linked.
static IMAGE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/vdso.so"));
const PAGE: u64 = PAGE_SIZE_BYTES as u64;

/// What is mapped.
struct Parts {
    image: Arc<dyn MappedFile>,
    /// The page that knows the time.
    clock: Arc<dyn MappedFile>,
    /// The page that does not.
    no_clock: Arc<dyn MappedFile>,
    clock_frame: Frame,
}

static PARTS: Once<Parts> = Once::new();

/// Pages that are the same in all programs, with a name in `/proc/PID/maps`.
struct Part {
    pages: Arc<dyn PageSource>,
    mappings: Mappings,
    label: &'static str,
}

struct Pages(Vec<Frame>);

impl PageSource for Pages {
    fn page(&self, index: u64, _for_write: bool) -> core::result::Result<Frame, FaultError> {
        self.0.get(index as usize).cloned().ok_or(FaultError::Bus)
    }

    fn len_bytes(&self) -> u64 {
        self.0.len() as u64 * PAGE
    }
}

impl MappedFile for Part {
    fn pages(&self) -> &Arc<dyn PageSource> {
        &self.pages
    }

    fn mappings(&self) -> &Mappings {
        &self.mappings
    }

    fn identity(&self) -> usize {
        core::ptr::from_ref(self).addr()
    }

    fn label(&self) -> &'static str {
        self.label
    }

    fn punch_hole(&self, _offset_bytes: u64, _len_bytes: u64) -> Result<()> {
        Err(Errno::INVAL)
    }
}

fn part(frames: Vec<Frame>, label: &'static str) -> Arc<dyn MappedFile> {
    Arc::new(Part { pages: Arc::new(Pages(frames)), mappings: Mappings::default(), label })
}

/// Takes the pages. The clocks run.
pub fn init() -> Result<()> {
    let mut image = Vec::new();
    for content in IMAGE.chunks(PAGE_SIZE_BYTES) {
        let frame = Frame::alloc_zeroed()?;
        frame.write(0, content);
        image.push(frame);
    }
    let clock_frame = Frame::alloc_zeroed()?;
    let no_clock = Vec::from([Frame::alloc_zeroed()?]);
    PARTS.call_once(|| Parts {
        image: part(image, "[vdso]"),
        clock: part(Vec::from([clock_frame.clone()]), "[vvar]"),
        no_clock: part(no_clock, "[vvar]"),
        clock_frame,
    });
    clock_changed();
    Ok(())
}

/// The clocks were set: programs are to see it.
pub fn clock_changed() {
    if let Some(parts) = PARTS.get() {
        // SAFETY: the frame is the clock's for ever, and all that `ClockPage` has are atomics, for which zeros will do.
        let page = unsafe { parts.clock_frame.content::<ClockPage>() };
        page.write(super::clock::for_programs());
    }
}

fn clock_for<'parts>(parts: &'parts Parts, namespace: &TimeNamespace) -> &'parts Arc<dyn MappedFile> {
    if namespace.offsets() == Offsets::default() { &parts.clock } else { &parts.no_clock }
}

/// Maps it all for a program of a time namespace: where the image begins (`AT_SYSINFO_EHDR`).
pub fn map(space: &AddressSpace, namespace: &TimeNamespace) -> Result<u64> {
    let parts = PARTS.get().ok_or(Errno::NOMEM)?;
    let image_bytes = (IMAGE.len() as u64).next_multiple_of(PAGE);
    let place = space.map(request(0, PAGE + image_bytes, Protection::empty(), Backing::Anonymous), u64::MAX)?;
    let backing = |file: &Arc<dyn MappedFile>| Backing::File { file: file.clone(), offset_bytes: 0, shared: false };
    let clock = request(place, PAGE, Protection::READ, backing(clock_for(parts, namespace)));
    space.map(MapRequest { max_protection: Protection::READ, ..clock }, u64::MAX)?;
    space.map(request(place + PAGE, image_bytes, Protection::READ | Protection::EXEC, backing(&parts.image)), u64::MAX)?;
    Ok(place + PAGE)
}

/// A program has come into another time namespace.
pub fn enter(space: &AddressSpace, namespace: &TimeNamespace) {
    let Some(parts) = PARTS.get() else { return };
    let wanted = clock_for(parts, namespace);
    let other = if Arc::ptr_eq(wanted, &parts.clock) { &parts.no_clock } else { &parts.clock };
    space.replace_file(other, wanted);
}

fn request(address: u64, len_bytes: u64, protection: Protection, backing: Backing) -> MapRequest {
    MapRequest {
        address,
        len_bytes,
        protection,
        max_protection: Protection::all(),
        fixed: address != 0,
        no_replace: false,
        grows_down: false,
        populate: false,
        low: false,
        backing,
    }
}
