//! The secret in the data folder: whoever may read it could as well read the store, so it
//! may do everything. By it an operator on this machine makes the first token.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use crate::{keeping::Access, record::new_secret};

/// The file in the data folder; made anew by each start.
pub const LOCAL_FILE: &str = "local.token";

impl Access {
    /// Writes a new secret that this process alone knows, readable by its user only. It counts
    /// on this machine, where there is access control.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn write_local(&self, folder: &Path) -> io::Result<()> {
        let secret = new_secret().map_err(io::Error::other)?;
        let path = folder.join(LOCAL_FILE);
        let fresh = folder.join(format!("{LOCAL_FILE}.fresh"));
        // One that a killed process left behind.
        let _none = fs::remove_file(&fresh);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&fresh)?;
        writeln!(file, "{}", secret.reveal())?;
        file.sync_all()?;
        fs::rename(&fresh, &path)?;
        self.set_local(secret.hash());
        Ok(())
    }
}
