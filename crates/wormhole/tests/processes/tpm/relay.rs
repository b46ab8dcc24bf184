//! A software TPM as a process, and somebody on the way to it who may listen, lie and stay silent.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hmac::{Hmac, Mac as _};
use ravelin_wormhole::tpm::NvIndex;
use sha2::{Digest as _, Sha256};

use crate::scratch::Scratch;

pub(crate) const NV_UNDEFINE: u32 = 0x122;
pub(crate) const NV_DEFINE: u32 = 0x12A;
pub(crate) const NV_INCREMENT: u32 = 0x134;
pub(crate) const NV_READ: u32 = 0x14E;
pub(crate) const NV_READ_PUBLIC: u32 = 0x169;
pub(crate) const START_AUTH_SESSION: u32 = 0x176;
const OWNER: u32 = 0x4000_0001;

/// A running `swtpm`, killed on drop; its memory stays in the scratch directory.
pub(crate) struct SoftwareTpm {
    process: Child,
    socket: PathBuf,
}

impl SoftwareTpm {
    pub(crate) fn start(scratch: &Scratch, name: &str) -> Option<Self> {
        Self::start_with(scratch, name, "not-need-init,startup-clear")
    }

    pub(crate) fn start_with(scratch: &Scratch, name: &str, flags: &str) -> Option<Self> {
        let (socket, memory) = (scratch.path(&format!("{name}.sock")), scratch.path(name));
        fs::create_dir_all(&memory).unwrap();
        drop(fs::remove_file(&socket));
        let control = scratch.path(&format!("{name}.ctrl"));
        let started = Command::new("swtpm")
            .args(["socket", "--tpm2", "--flags", flags])
            .args(["--server", &format!("type=unixio,path={}", socket.display())])
            .args(["--ctrl", &format!("type=unixio,path={}", control.display())])
            .args(["--tpmstate", &format!("dir={}", memory.display())])
            .stderr(Stdio::null())
            .spawn();
        let process = match started {
            Ok(process) => process,
            Err(error) => {
                // Straight to stderr: what `println!` says of a test that passes is hidden.
                let mut stderr = std::io::stderr();
                writeln!(stderr, "SKIPPED: needs `swtpm`: {error}").unwrap();
                return None;
            }
        };
        let tpm = Self { process, socket };
        for _ in 0..500 {
            if UnixStream::connect(&tpm.socket).is_ok() {
                return Some(tpm);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("swtpm does not listen");
    }

    pub(crate) fn path(&self) -> &Path {
        &self.socket
    }
}

impl Drop for SoftwareTpm {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// Sends what it is given to the TPM and answers its answer.
type Honest<'a> = &'a mut dyn FnMut(&[u8]) -> Vec<u8>;
type Manner = dyn FnMut(&[u8], Honest<'_>) -> Vec<u8> + Send;

/// Between many clients and one TPM. Ends with its process.
pub(crate) struct Relay {
    socket: PathBuf,
    manner: Arc<Mutex<Manner>>,
}

impl Drop for Relay {
    /// A relay that panicked proves nothing.
    fn drop(&mut self) {
        assert!(std::thread::panicking() || !self.manner.is_poisoned(), "the relay panicked");
    }
}

impl Relay {
    pub(crate) fn honest(scratch: &Scratch, tpm: &Path) -> Self {
        Self::new(scratch, tpm, |command, honest| honest(command))
    }

    /// Answers each command as `manner` says; nothing at all if it says nothing. Connects to the TPM
    /// for each exchange, because `swtpm` serves one connection at a time.
    pub(crate) fn new(
        scratch: &Scratch,
        tpm: &Path,
        manner: impl FnMut(&[u8], Honest<'_>) -> Vec<u8> + Send + 'static,
    ) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let socket = scratch.path(&format!("relay{number}.sock"));
        let listener = UnixListener::bind(&socket).unwrap();
        let manner: Arc<Mutex<Manner>> = Arc::new(Mutex::new(manner));
        let (tpm, shared) = (tpm.to_path_buf(), Arc::clone(&manner));
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (tpm, manner) = (tpm.clone(), Arc::clone(&shared));
                std::thread::spawn(move || serve(client.unwrap(), &tpm, &manner));
            }
        });
        Self { socket, manner }
    }

    /// A TPM that believes every client, and proves its answers with the secret that it knows.
    pub(crate) fn accepting(scratch: &Scratch, tpm: &Path, secret: [u8; 32]) -> Self {
        let mut nonce_tpm = [0; 32];
        Self::new(scratch, tpm, move |command, honest| {
            let code = code_of(command);
            if code != NV_READ && code != NV_INCREMENT {
                let answer = honest(command);
                if code == START_AUTH_SESSION {
                    nonce_tpm.copy_from_slice(&answer[16..48]);
                }
                return answer;
            }
            // handles 10..18, size 18..22, session 22..26, nonce 28..60, attributes 60, HMAC 63..95
            let parameters = &command[95..];
            let name = name_of_counter(command[10..14].try_into().unwrap());
            let said = Sha256::new()
                .chain_update(code.to_be_bytes())
                .chain_update(name)
                .chain_update(name)
                .chain_update(parameters)
                .finalize();
            let mut hmac = Hmac::<Sha256>::new_from_slice(&secret).unwrap();
            hmac.update(&said);
            hmac.update(&command[28..60]);
            hmac.update(&nonce_tpm);
            hmac.update(&command[60..61]);
            let mut own = command.to_vec();
            own[63..95].copy_from_slice(&hmac.finalize().into_bytes());
            let answer = honest(&own);
            let nonce = answer.len() - 32 - 2 - 1 - 32;
            nonce_tpm.copy_from_slice(&answer[nonce..nonce + 32]);
            answer
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.socket
    }
}

fn name_of_counter(index: [u8; 4]) -> [u8; 34] {
    let attributes = 0x2204_0014_u32.to_be_bytes();
    let hash = Sha256::new()
        .chain_update(index)
        .chain_update([0, 0x0B])
        .chain_update(attributes)
        .chain_update([0, 0, 0, 8])
        .finalize();
    let mut name = [0; 34];
    name[1] = 0x0B;
    name[2..].copy_from_slice(&hash);
    name
}

fn serve(mut client: UnixStream, tpm: &Path, manner: &Mutex<Manner>) {
    let mut buffer = [0; 1024];
    loop {
        let length = match client.read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(length) => length,
        };
        let mut honest = |command: &[u8]| exchange(tpm, command);
        let answer = (*manner.lock().unwrap())(&buffer[..length], &mut honest);
        if client.write_all(&answer).is_err() {
            return;
        }
    }
}

/// One command to the TPM, over a connection of its own.
fn exchange(tpm: &Path, command: &[u8]) -> Vec<u8> {
    let mut stream = UnixStream::connect(tpm).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(command).unwrap();
    let mut answer = vec![0; 1024];
    let length = stream.read(&mut answer).unwrap();
    answer.truncate(length);
    answer
}

pub(crate) fn code_of(command: &[u8]) -> u32 {
    u32::from_be_bytes(command[6..10].try_into().unwrap())
}

/// An answer that is only a code.
pub(crate) fn refusal(code: u32) -> Vec<u8> {
    let mut answer = vec![0x80, 0x01, 0, 0, 0, 10];
    answer.extend_from_slice(&code.to_be_bytes());
    answer
}

/// The command that ends the session with this handle.
pub(crate) fn flush(session: &[u8]) -> Vec<u8> {
    [&[0x80, 0x01, 0, 0, 0, 14, 0, 0, 0x01, 0x65], session].concat()
}

/// A command by the TPM's owner, whose password is empty. Answers the code.
fn by_owner(tpm: &Path, code: u32, handles: &[u32], parameters: &[u8]) -> u32 {
    let mut command = vec![0x80, 0x02, 0, 0, 0, 0];
    command.extend_from_slice(&code.to_be_bytes());
    for handle in handles {
        command.extend_from_slice(&handle.to_be_bytes());
    }
    command.extend_from_slice(&[0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0]);
    command.extend_from_slice(parameters);
    let size = u32::try_from(command.len()).unwrap();
    command[2..6].copy_from_slice(&size.to_be_bytes());
    let answer = exchange(tpm, &command);
    u32::from_be_bytes(answer[6..10].try_into().unwrap())
}

/// A command on the index, authorised as the owner. Answers the code.
pub(crate) fn owner_command(tpm: &Path, code: u32, index: NvIndex, parameters: &[u8]) -> u32 {
    by_owner(tpm, code, &[OWNER, index.get()], parameters)
}

pub(crate) fn undefine(tpm: &Path, index: NvIndex) {
    assert_eq!(owner_command(tpm, NV_UNDEFINE, index, &[]), 0);
}

/// Makes an index of eight bytes with these attributes and an empty secret, and does not write it.
pub(crate) fn define_counter(tpm: &Path, index: NvIndex, attributes: u32) {
    let mut parameters = vec![0, 0, 0, 14];
    parameters.extend_from_slice(&index.get().to_be_bytes());
    parameters.extend_from_slice(&[0, 0x0B]);
    parameters.extend_from_slice(&attributes.to_be_bytes());
    parameters.extend_from_slice(&[0, 0, 0, 8]);
    assert_eq!(by_owner(tpm, NV_DEFINE, &[OWNER], &parameters), 0);
}
