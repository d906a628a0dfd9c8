//! Who this Portolan is: an id that chance made once, in a file of the data folder.

use std::{
    fs,
    io::{self, Write},
    path::Path,
};

use portolan_model::NodeId;
use portolan_runtime::Env;

/// The file's name in the data folder.
const FILE: &str = "node-id";

/// The id that the folder holds, or a new one that it holds from now on. Whoever calls has
/// the right to use the folder.
///
/// # Errors
/// The system's, if the file can't be read or written; [`io::ErrorKind::InvalidData`] if
/// it holds no id. It is not replaced then, since others know this Portolan by it.
pub(crate) fn node_id(folder: &Path, env: &Env) -> io::Result<NodeId> {
    let file = folder.join(FILE);
    let failed = |error: io::Error| {
        let words = format!("can't use {}: {error}", file.display());
        io::Error::new(error.kind(), words)
    };
    match fs::read_to_string(&file) {
        // A loss of power can leave an empty file behind, which nobody knows us by.
        Ok(text) if !text.trim().is_empty() => {
            let read = NodeId::parse(text.trim());
            read.map_err(|bad| failed(io::Error::new(io::ErrorKind::InvalidData, bad)))
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(error)),
        Ok(_) | Err(_) => {
            let mut dice = env.dice();
            let id = NodeId::of_chance([dice.u64(), dice.u64()]);
            let fresh = file.with_extension("fresh");
            write(&fresh, &format!("{id}\n")).map_err(failed)?;
            fs::rename(&fresh, &file).map_err(failed)?;
            fs::File::open(folder)
                .and_then(|folder| folder.sync_all())
                .map_err(failed)?;
            Ok(id)
        }
    }
}

fn write(file: &Path, text: &str) -> io::Result<()> {
    let mut file = fs::File::create(file)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use portolan_testkit::Scratch;

    use super::*;

    #[test]
    fn an_id_is_made_once_and_kept() {
        let scratch = Scratch::new();
        let env = Env::system();
        let first = node_id(scratch.path(), &env).unwrap();
        assert_eq!(node_id(scratch.path(), &env).unwrap(), first);
        let other = Scratch::new();
        assert_ne!(node_id(other.path(), &env).unwrap(), first);
    }

    #[test]
    fn an_empty_file_is_none() {
        let scratch = Scratch::new();
        scratch.write(FILE, "");
        let id = node_id(scratch.path(), &Env::system()).unwrap();
        assert_eq!(node_id(scratch.path(), &Env::system()).unwrap(), id);
    }

    #[test]
    fn a_file_that_holds_no_id_is_an_error_and_stays() {
        let scratch = Scratch::new();
        let file = scratch.write(FILE, "two words\n");
        let error = node_id(scratch.path(), &Env::system()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert_eq!(fs::read_to_string(file).unwrap(), "two words\n");
    }
}
