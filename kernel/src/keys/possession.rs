//! The keyrings that a thread has: its own, its process's, its session's, its user's. What is found from there it possesses.

use super::key::{Key, KeyAttributes, KeyType, Need, POSSESSOR_SHIFT, USER_SHIFT};
use super::keyring::{self, Wanted};
use super::quota::Charge;
use crate::errno::{Errno, Result};
use crate::sync::SpinLock;
use crate::task::{Credentials, UserNamespace, current};
use alloc::{collections::BTreeMap, format, sync::Arc, vec::Vec};

/// The special numbers of `keyctl(2)` (`linux/keyctl.h`).
const THREAD: i32 = -1;
const PROCESS: i32 = -2;
const SESSION: i32 = -3;
const USER: i32 = -4;
const USER_SESSION: i32 = -5;
const GROUP: i32 = -6;
const AUTHORISATION: i32 = -7;
const REQUESTOR: i32 = -8;

const ALL: u32 = 0x3f;

/// The keyrings that hang on a thread's credentials.
#[derive(Clone, Default)]
#[allow(missing_docs)]
pub struct CredentialKeyrings {
    pub session: Option<Arc<Key>>,
    pub process: Option<Arc<Key>>,
    pub thread: Option<Arc<Key>>,
    /// `KEYCTL_SET_REQKEY_KEYRING`.
    pub default_destination: i32,
}

impl CredentialKeyrings {
    /// What a new thread begins with: of its process the same, of another process only the session's.
    pub fn for_child(&self, same_process: bool) -> Self {
        Self { process: if same_process { self.process.clone() } else { None }, thread: None, ..self.clone() }
    }

    /// What stays through an exec.
    pub fn after_exec(&self) -> Self {
        self.for_child(false)
    }
}

/// The keyrings of the users of a user namespace, by uid: the user's own, and what stands in for a session's.
#[derive(Default)]
pub struct UserKeyrings(SpinLock<BTreeMap<u32, [Arc<Key>; 2]>>);

/// A keyring that the kernel makes: it counts, but is not refused.
fn make_keyring(credentials: &Credentials, description: &[u8], permissions: u32) -> Result<Arc<Key>> {
    let (uid, gid) = (credentials.filesystem_uid, credentials.filesystem_gid);
    let charge = Charge::take(uid, description, true, 0, false)?;
    Ok(Key::new(KeyType::Keyring, description, Vec::new(), KeyAttributes { uid, gid, permissions }, charge))
}

/// The user's keyring and the user's session keyring.
fn user_keyrings(credentials: &Credentials) -> Result<[Arc<Key>; 2]> {
    let namespace: &UserNamespace = &credentials.user_namespace;
    let uid = credentials.uid;
    let known = namespace.user_keyrings.0.lock().get(&uid).cloned();
    if let Some(known) = known {
        return Ok(known);
    }
    let shown = namespace.shown_uid(uid);
    let permissions = (ALL & !Need::SETATTR.bits()) << POSSESSOR_SHIFT | ALL << USER_SHIFT;
    let make = |description: &str| {
        let attributes = KeyAttributes { uid, gid: u32::MAX, permissions };
        let charge = Charge::take(uid, description.as_bytes(), true, 0, true)?;
        Ok(Key::new(KeyType::Keyring, description.as_bytes(), Vec::new(), attributes, charge))
    };
    let own = make(&format!("_uid.{shown}"))?;
    let session = make(&format!("_uid_ses.{shown}"))?;
    session.links.add(&session, &own)?;
    let pair = [own, session];
    namespace.user_keyrings.0.lock().insert(uid, pair.clone());
    Ok(pair)
}

/// Changes the keyrings of the current thread.
pub fn change(edit: impl FnOnce(&mut CredentialKeyrings)) {
    let thread = current();
    let mut new = Credentials::clone(&thread.credentials());
    edit(&mut new.keyrings);
    thread.set_credentials(Arc::new(new));
}

/// A new session keyring for the current thread, by itself or with a name that others can join.
pub fn new_session(name: Option<&[u8]>) -> Result<Arc<Key>> {
    let credentials = current().credentials();
    let shared = (Need::VIEW | Need::READ).bits() << USER_SHIFT;
    let for_others = if name.is_some() { Need::LINK.bits() << USER_SHIFT } else { 0 };
    let keyring = make_keyring(&credentials, name.unwrap_or(b"_ses"), ALL << POSSESSOR_SHIFT | shared | for_others)?;
    change(|keyrings| keyrings.session = Some(keyring.clone()));
    Ok(keyring)
}

/// A keyring that anybody may look for by name, and that the current thread may search.
pub fn find_by_name(name: &[u8]) -> Option<Arc<Key>> {
    let credentials = current().credentials();
    let fits = |key: &Arc<Key>| {
        let owner = key.attributes().uid;
        key.key_type == KeyType::Keyring
            && key.description == name
            && key.validate().is_ok()
            && credentials.user_namespace.uid_from_global(owner).is_some()
            && key.check(&credentials, false, Need::SEARCH).is_ok()
    };
    Key::all().into_iter().find(fits)
}

/// A key as the current thread reaches it.
pub struct Reached {
    /// The key.
    pub key: Arc<Key>,
    /// Whether it is possessed.
    pub possessed: bool,
}

/// How a number is looked up.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Lookup {
    /// The key must be valid.
    Valid,
    /// A special keyring that is not there is made.
    Create,
    /// Whatever state it is in: to read or unlink it.
    Partial,
}

/// The key that `keyctl(2)` names by a number. `ENOKEY`, `EINVAL` for a number that means nothing, `EACCES` without what is needed.
pub fn look_up(number: i32, lookup: Lookup, need: Need) -> Result<Reached> {
    let reached = find(number, lookup)?;
    if lookup != Lookup::Partial {
        reached.key.validate()?;
    }
    if !need.is_empty() {
        reached.key.check(&current().credentials(), reached.possessed, need)?;
    }
    Ok(reached)
}

fn find(number: i32, lookup: Lookup) -> Result<Reached> {
    let credentials = current().credentials();
    let creates = lookup == Lookup::Create;
    let possessed = |key: Arc<Key>| Ok(Reached { key, possessed: true });
    match number {
        THREAD => possessed(match &credentials.keyrings.thread {
            Some(keyring) => keyring.clone(),
            None if creates => install(&credentials, b"_tid", |keyrings, keyring| keyrings.thread = Some(keyring))?,
            None => return Err(Errno::NOKEY),
        }),
        PROCESS => possessed(match &credentials.keyrings.process {
            Some(keyring) => keyring.clone(),
            None if creates => install(&credentials, b"_pid", |keyrings, keyring| keyrings.process = Some(keyring))?,
            None => return Err(Errno::NOKEY),
        }),
        SESSION => possessed(session(&credentials, creates)?),
        USER => possessed(user_keyrings(&credentials)?[0].clone()),
        USER_SESSION => possessed(user_keyrings(&credentials)?[1].clone()),
        // Group keyrings were never made.
        GROUP => Err(Errno::INVAL),
        AUTHORISATION | REQUESTOR => Err(Errno::NOKEY),
        1.. => {
            let key = Key::find(number)?;
            let possessed = possesses(&key);
            Ok(Reached { key, possessed })
        }
        _ => Err(Errno::INVAL),
    }
}

fn install(credentials: &Credentials, name: &[u8], put: impl FnOnce(&mut CredentialKeyrings, Arc<Key>)) -> Result<Arc<Key>> {
    let keyring = make_keyring(credentials, name, ALL << POSSESSOR_SHIFT | Need::VIEW.bits() << USER_SHIFT)?;
    change(|keyrings| put(keyrings, keyring.clone()));
    Ok(keyring)
}

/// The session's keyring. Who has none uses the user's for sessions, until something is to be put in.
fn session(credentials: &Credentials, creates: bool) -> Result<Arc<Key>> {
    let [_, of_user] = user_keyrings(credentials)?;
    match &credentials.keyrings.session {
        Some(own) if !(creates && Arc::ptr_eq(own, &of_user)) => Ok(own.clone()),
        _ if creates => new_session(None),
        _ => {
            change(|keyrings| keyrings.session = Some(of_user.clone()));
            Ok(of_user)
        }
    }
}

/// Searches the thread's, the process's and the session's keyrings, in this order. `ENOKEY` if nothing is found.
pub fn search_own(wanted: &Wanted<'_>) -> Result<Arc<Key>> {
    let credentials = current().credentials();
    let keyrings = &credentials.keyrings;
    let session = match &keyrings.session {
        Some(session) => Some(session.clone()),
        None => credentials.user_namespace.user_keyrings.0.lock().get(&credentials.uid).map(|[_, session]| session.clone()),
    };
    let mut failure = Errno::NOKEY;
    for keyring in [&keyrings.thread, &keyrings.process, &session].into_iter().flatten() {
        match keyring::search(keyring, true, wanted, &credentials) {
            Ok(key) => return Ok(key),
            Err(Errno::AGAIN) => {}
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// Whether the current thread possesses `key`.
pub fn possesses(key: &Arc<Key>) -> bool {
    search_own(&Wanted::Key(key)).is_ok()
}

/// `KEYCTL_SESSION_TO_PARENT`: the parent gets the caller's session keyring. `EPERM` unless it is the same user, alone and not init.
pub fn give_session_to_parent() -> Result<()> {
    let thread = current();
    let own = thread.credentials();
    let session = session(&own, false)?;
    session.check(&own, true, Need::LINK)?;
    let parent = thread.process.parent().ok_or(Errno::PERM)?;
    let theirs = parent.leader().ok_or(Errno::PERM)?;
    let credentials = theirs.credentials();
    let ids = |of: &Credentials| [of.uid, of.effective_uid, of.saved_uid, of.gid, of.effective_gid, of.saved_gid];
    let alike = [own.uid; 3] == ids(&credentials)[..3] && [own.gid; 3] == ids(&credentials)[3..] && ids(&own) == ids(&credentials);
    let in_reach = parent.id.number() > 1 && parent.threads().len() == 1 && parent.address_space().is_some();
    if !in_reach || !alike || session.attributes().uid != own.effective_uid {
        return Err(Errno::PERM);
    }
    let mut new = Credentials::clone(&credentials);
    new.keyrings.session = Some(session);
    theirs.set_credentials(Arc::new(new));
    Ok(())
}
