//! A name of this process that it keeps over restarts, in its own folder, which no other process uses: after a restart it goes on with its own jobs, and with nobody else's where several
//! engines share a database.

use std::io;
use std::path::Path;

use rand::Rng;
use rand::distr::Alphanumeric;

/// The name kept in a folder, made when it is first asked for.
pub(super) fn name(folder: &Path) -> io::Result<String> {
    let path = folder.join("ringback.name");
    match std::fs::read_to_string(&path) {
        Ok(name) if !name.trim().is_empty() => return Ok(name.trim().to_owned()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let name: String = rand::rng().sample_iter(Alphanumeric).take(16).map(char::from).collect();
    let draft = path.with_extension("part");
    std::fs::write(&draft, &name)?;
    std::fs::File::open(&draft)?.sync_all()?;
    std::fs::rename(draft, path)?;
    Ok(name)
}
