//! Signatures of messages by a shared secret.
//!
//! hickory reads and writes the record; the signature is ring's HMAC over the bytes as they
//! came, so that nothing is encoded anew before it is verified.
//!
//! Source: RFC 8945.

use std::sync::Arc;

use hickory_proto::{
    ProtoError,
    rr::{
        DNSClass, Name, RData, Record, RecordType,
        rdata::{
            TSIG,
            tsig::{TsigAlgorithm, TsigError, make_tsig_record},
        },
    },
    serialize::binary::{BinDecodable, BinDecoder, BinEncodable, BinEncoder, NameEncoding},
};
use portolan_forwarder::Cursor;
use portolan_model::ServiceKey;
use ring::hmac;

use crate::settings::fits;

/// Where a header counts its additional records.
const ADDITIONALS: std::ops::Range<usize> = 10..12;
/// The shortest secret, in bytes: RFC 2104 discourages less than the length of the hash.
pub const SECRET_BYTES_MIN: usize = 16;
/// How far clocks may be apart, in seconds: in what we sign, and at most in what we take.
pub(super) const FUDGE: u16 = 300;

/// A hash that signatures are made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// `hmac-sha256`, which everybody has.
    Sha256,
    /// `hmac-sha384`.
    Sha384,
    /// `hmac-sha512`.
    Sha512,
}

/// A secret that we share with a client.
#[derive(Clone, Debug)]
pub struct Key {
    name: Name,
    algorithm: Algorithm,
    secret: hmac::Key,
    services: Vec<Arc<str>>,
}

/// A secret that is too short to be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a secret of {bytes} bytes is too short; it needs {SECRET_BYTES_MIN}")]
pub struct BadSecret {
    /// Its length.
    pub bytes: usize,
}

/// A message whose signature is good, and what the answer's signature begins with.
#[derive(Debug)]
pub(super) struct Verified<'a> {
    pub(super) key: &'a Key,
    /// The question's signature.
    pub(super) asked: TSIG,
}

/// What is wrong with a signature.
#[derive(Debug)]
pub(super) enum Unverified<'a> {
    /// There is none.
    Unsigned,
    /// It can't be read, or stands where it must not (FORMERR).
    Malformed,
    /// The answer says so without a signature: there is none that both know.
    Unsignable(Box<Record<TSIG>>),
    /// The signature is good, but too old or from the future; the answer is signed.
    Late(Box<Verified<'a>>),
}

impl Algorithm {
    const fn hash(self) -> hmac::Algorithm {
        match self {
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha384 => hmac::HMAC_SHA384,
            Self::Sha512 => hmac::HMAC_SHA512,
        }
    }

    const fn told(self) -> TsigAlgorithm {
        match self {
            Self::Sha256 => TsigAlgorithm::HmacSha256,
            Self::Sha384 => TsigAlgorithm::HmacSha384,
            Self::Sha512 => TsigAlgorithm::HmacSha512,
        }
    }
}

impl Key {
    /// A key of that name.
    ///
    /// # Errors
    /// [`BadSecret`]: anybody could guess it.
    pub fn new(name: &Name, algorithm: Algorithm, secret: &[u8]) -> Result<Self, BadSecret> {
        if secret.len() < SECRET_BYTES_MIN {
            return Err(BadSecret {
                bytes: secret.len(),
            });
        }
        let mut name = name.to_lowercase();
        name.set_fqdn(true);
        Ok(Self {
            name,
            algorithm,
            secret: hmac::Key::new(algorithm.hash(), secret),
            services: Vec::new(),
        })
    }

    /// The same for these services only: `service`, `namespace/service`, or what they begin
    /// with and a `*`. None are all.
    #[must_use]
    pub fn of_services(mut self, patterns: Vec<Arc<str>>) -> Self {
        self.services = patterns;
        self
    }

    pub(super) fn may_write(&self, service: &ServiceKey) -> bool {
        let text = service.to_string();
        self.services.is_empty() || self.services.iter().any(|pattern| fits(pattern, &text))
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &Name {
        &self.name
    }

    fn is_of(&self, name: &Name, algorithm: &TsigAlgorithm) -> bool {
        let told = |algorithm: &TsigAlgorithm| {
            let name = algorithm.to_name().to_ascii().to_ascii_lowercase();
            name.trim_end_matches('.').to_owned()
        };
        self.name == name.to_lowercase() && told(algorithm) == told(&self.algorithm.told())
    }
}

/// Checks the signature of a message at that time, in seconds.
///
/// # Errors
/// [`Unverified`].
pub(super) fn verify<'a>(
    message: &[u8],
    keys: &'a [Key],
    now: u64,
) -> Result<Verified<'a>, Unverified<'a>> {
    let (signed, record) = split(message)?;
    let RData::TSIG(tsig) = &record.data else {
        return Err(Unverified::Malformed);
    };
    if record.dns_class != DNSClass::ANY || record.ttl != 0 {
        return Err(Unverified::Malformed);
    }
    let key = keys
        .iter()
        .find(|key| key.is_of(&record.name, &tsig.algorithm));
    let Some(key) = key else {
        return Err(unsignable(&record.name, tsig, TsigError::BadKey));
    };
    let digest_length = key.algorithm.hash().digest_algorithm().output_len();
    if tsig.mac.len() > digest_length {
        return Err(Unverified::Malformed);
    }
    let mut context = signed;
    put_id(&mut context, tsig.oid);
    put_variables(&mut context, &record.name, tsig).map_err(|_| Unverified::Malformed)?;
    // A signature that was cut is not taken: there is no client that needs it.
    if hmac::verify(&key.secret, &context, &tsig.mac).is_err() {
        return Err(unsignable(&record.name, tsig, TsigError::BadSig));
    }
    let verified = Verified {
        key,
        asked: tsig.clone(),
    };
    if tsig.time.abs_diff(now) > tsig.fudge.min(FUDGE).into() {
        return Err(Unverified::Late(Box::new(verified)));
    }
    Ok(verified)
}

impl Verified<'_> {
    /// Signs an answer.
    pub(super) fn sign(&self, answer: Vec<u8>, now: u64) -> Vec<u8> {
        let id = id_of(&answer);
        let tsig = TSIG::new(
            self.key.algorithm.told(),
            now,
            FUDGE,
            Vec::new(),
            id,
            None,
            Vec::new(),
        );
        self.sign_by(answer, tsig)
    }

    /// Signs an answer that says that the clocks are apart: by the client's, with ours beside.
    pub(super) fn sign_late(&self, answer: Vec<u8>, now: u64) -> Vec<u8> {
        let asked = &self.asked;
        let ours = now.to_be_bytes().get(2..).unwrap_or_default().to_vec();
        let (id, error) = (id_of(&answer), Some(TsigError::BadTime));
        let algorithm = self.key.algorithm.told();
        let tsig = TSIG::new(
            algorithm,
            asked.time,
            asked.fudge,
            Vec::new(),
            id,
            error,
            ours,
        );
        self.sign_by(answer, tsig)
    }

    fn sign_by(&self, answer: Vec<u8>, tsig: TSIG) -> Vec<u8> {
        let mut context = Vec::new();
        let length = u16::try_from(self.asked.mac.len()).unwrap_or(u16::MAX);
        context.extend(length.to_be_bytes());
        context.extend(&self.asked.mac);
        context.extend(&answer);
        if put_variables(&mut context, &self.key.name, &tsig).is_err() {
            return answer;
        }
        let mac = hmac::sign(&self.key.secret, &context).as_ref().to_vec();
        append(
            answer,
            &make_tsig_record(self.key.name.clone(), tsig.set_mac(mac)),
        )
    }
}

/// Adds a signature's record to an answer.
pub(super) fn append(mut answer: Vec<u8>, record: &Record<TSIG>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = BinEncoder::new(&mut bytes);
    encoder.set_name_encoding(NameEncoding::Uncompressed);
    if record.emit(&mut encoder).is_err() {
        return answer;
    }
    answer.extend(bytes);
    add_additionals(&mut answer, 1);
    answer
}

/// The message without its signature, and the record of that. Other records are only measured:
/// nobody has a right to more before the signature is verified.
fn split<'a>(message: &[u8]) -> Result<(Vec<u8>, Record), Unverified<'a>> {
    let start = last_record(message).ok_or(Unverified::Malformed)??;
    let mut decoder = u16::try_from(start)
        .map(|start| BinDecoder::new(message).clone(start))
        .map_err(|_| Unverified::Malformed)?;
    let record = Record::read(&mut decoder).map_err(|_| Unverified::Malformed)?;
    let mut signed = message.get(..start).unwrap_or_default().to_vec();
    add_additionals(&mut signed, u16::MAX);
    Ok((signed, record))
}

/// Where the last record begins, which must be a signature and the only one; nothing if the
/// records can't be passed over.
fn last_record<'a>(message: &[u8]) -> Option<Result<usize, Unverified<'a>>> {
    let mut cursor = Cursor {
        bytes: message,
        at: 0,
    };
    let head = cursor.head()?;
    for _ in 0..head.questions {
        cursor.skip_question()?;
    }
    let counts = [head.answers, head.authorities, head.additionals];
    let records: usize = counts.map(usize::from).into_iter().sum();
    for place in 1..=records {
        let start = cursor.at;
        let is_signature = cursor.record()?.kind == u16::from(RecordType::TSIG);
        let is_last = place == records && head.additionals > 0;
        match (is_signature, is_last) {
            (true, true) => return Some(Ok(start)),
            (true, false) => return None,
            (false, _) => {}
        }
    }
    Some(Err(Unverified::Unsigned))
}

fn unsignable<'a>(name: &Name, asked: &TSIG, error: TsigError) -> Unverified<'a> {
    let tsig = TSIG::new(
        asked.algorithm.clone(),
        asked.time,
        asked.fudge,
        Vec::new(),
        asked.oid,
        Some(error),
        Vec::new(),
    );
    Unverified::Unsignable(Box::new(make_tsig_record(name.clone(), tsig)))
}

/// What of a signature's record is signed (RFC 8945, section 4.3.3).
fn put_variables(out: &mut Vec<u8>, name: &Name, tsig: &TSIG) -> Result<(), ProtoError> {
    let mut bytes = Vec::new();
    tsig.emit_tsig_for_mac(&mut BinEncoder::new(&mut bytes), name)?;
    out.extend(bytes);
    Ok(())
}

fn id_of(message: &[u8]) -> u16 {
    let id = message.first_chunk::<2>();
    id.map_or(0, |id| u16::from_be_bytes(*id))
}

fn put_id(message: &mut [u8], id: u16) {
    if let Some(place) = message.first_chunk_mut::<2>() {
        *place = id.to_be_bytes();
    }
}

/// Counts more additional records, or by `u16::MAX` one less.
fn add_additionals(message: &mut [u8], more: u16) {
    if let Some(place) = message.get_mut(ADDITIONALS)
        && let Ok(count) = <[u8; 2]>::try_from(&*place)
    {
        let count = u16::from_be_bytes(count).wrapping_add(more);
        place.copy_from_slice(&count.to_be_bytes());
    }
}
