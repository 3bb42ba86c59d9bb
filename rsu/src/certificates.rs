//! Who vouches for a machine on a link?
//!
//! A provider's authority: one self-signed certificate and its key, kept off the roadside. It issues link
//! certificates, each for a kind of station and the names under which the machine is reached; those of vehicles have no name,
//! for nobody connects to a vehicle. P-256, since that is what TLS stacks in vehicles have; chains are signed with
//! secp256k1 and are another matter.
//!
//! There is no revocation list: zenoh knows none. Certificates are short-lived instead, and a link ends when its
//! certificate does. Source: docs/adr/0019-links.md.

use std::path::{Path, PathBuf};

use milepost_wire::link::{Station, TlsFiles};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, KeyUsagePurpose,
};

use crate::home::{self, HomeError};

/// How long an authority lasts: ten years.
const AUTHORITY_DAYS: u32 = 3_650;
/// How long a link certificate lasts unless said otherwise, in days.
pub const LINK_DAYS: u32 = 90;
/// A certificate is valid from an hour before it was made: clocks differ.
const BACKDATED: std::time::Duration = std::time::Duration::from_secs(3_600);

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The names or the authority's files are not what they should be.
    #[error("no certificate can be made: {0}")]
    Made(#[from] rcgen::Error),
    /// The authority's files cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file cannot be written.
    #[error(transparent)]
    Write(#[from] HomeError),
}

/// A provider's authority, able to issue.
pub struct Authority {
    certificate_pem: String,
    key_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Makes a new one, named after its provider.
    ///
    /// # Errors
    ///
    /// [`CertificateError::Made`].
    pub fn make(provider: &str) -> Result<Self, CertificateError> {
        let mut params = params(&[], provider, AUTHORITY_DAYS)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        Ok(Self {
            certificate_pem: params.self_signed(&key)?.pem(),
            key_pem: key.serialize_pem(),
            issuer: Issuer::new(params, key),
        })
    }

    /// Reads one from `authority.pem` and `authority.key` in `folder`.
    ///
    /// # Errors
    ///
    /// [`CertificateError::Read`], [`CertificateError::Made`].
    pub fn read(folder: &Path) -> Result<Self, CertificateError> {
        let read = |name: &str| {
            let path = folder.join(name);
            std::fs::read_to_string(&path).map_err(|source| CertificateError::Read { path, source })
        };
        let (certificate_pem, key_pem) = (read("authority.pem")?, read("authority.key")?);
        let issuer = Issuer::from_ca_cert_pem(&certificate_pem, KeyPair::from_pem(&key_pem)?)?;
        Ok(Self {
            certificate_pem,
            key_pem,
            issuer,
        })
    }

    /// Writes `authority.pem` and `authority.key` into `folder`.
    ///
    /// # Errors
    ///
    /// [`CertificateError::Write`].
    pub fn write(&self, folder: &Path) -> Result<(), CertificateError> {
        home::make_folder(folder)?;
        home::write_file(&folder.join("authority.pem"), &self.certificate_pem)?;
        home::write_secret(&folder.join("authority.key"), self.key_pem.trim_end())?;
        Ok(())
    }

    /// Its certificate, for those who are to trust it.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// Issues a certificate for a machine that keeps its key to itself and asks with a `link.csr`. Of the request, its key
    /// and its names count; all else the authority says. Returns the names beside the certificate.
    ///
    /// # Errors
    ///
    /// [`CertificateError::Made`], also where the request's signature is not its key's.
    pub fn answer(
        &self,
        request_pem: &str,
        station: Station,
        days: u32,
    ) -> Result<(String, Vec<String>), CertificateError> {
        let request = CertificateSigningRequestParams::from_pem(request_pem)?;
        let names = request.params.subject_alt_names;
        let told = names.iter().map(|name| format!("{name:?}")).collect();
        let mut params = link_params(&[], station, days)?;
        params.subject_alt_names = names;
        let certificate = params.signed_by(&request.public_key, &self.issuer)?;
        Ok((certificate.pem(), told))
    }

    /// Issues a certificate and its key into `folder`, for a machine that is reached under `names` (DNS names or IP
    /// addresses) and trusts `authorities`. `files` says what they are called.
    ///
    /// # Errors
    ///
    /// [`CertificateError::Made`] where a name is none, [`CertificateError::Write`].
    pub fn issue(
        &self,
        station: Station,
        names: &[String],
        days: u32,
        authorities_pem: &str,
        files: &TlsFiles,
    ) -> Result<(), CertificateError> {
        let params = link_params(names, station, days)?;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        for path in files.paths() {
            home::make_folder(path.parent().unwrap_or(Path::new("")))?;
        }
        home::write_file(&files.authorities, authorities_pem)?;
        home::write_file(&files.certificate, &certificate.pem())?;
        home::write_secret(&files.key, key.serialize_pem().trim_end())?;
        Ok(())
    }
}

/// Makes `link.key`, and `link.csr`, which asks an authority to certify it for these names.
///
/// # Errors
///
/// [`CertificateError::Made`] where a name is none, [`CertificateError::Write`].
pub fn request(names: &[String], folder: &Path) -> Result<(), CertificateError> {
    let key = KeyPair::generate()?;
    let request = CertificateParams::new(names)?.serialize_request(&key)?;
    home::write_file(&folder.join("link.csr"), &request.pem()?)?;
    home::write_secret(&folder.join("link.key"), key.serialize_pem().trim_end())?;
    Ok(())
}

fn link_params(names: &[String], station: Station, days: u32) -> Result<CertificateParams, rcgen::Error> {
    let mut params = params(names, station.common_name(), days)?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    if station == Station::Roadside {
        params
            .extended_key_usages
            .push(ExtendedKeyUsagePurpose::ServerAuth);
    }
    Ok(params)
}

fn params(names: &[String], common_name: &str, days: u32) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    let now = std::time::SystemTime::now();
    params.not_before = (now - BACKDATED).into();
    params.not_after = (now + std::time::Duration::from_secs(u64::from(days) * 86_400)).into();
    Ok(params)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_that_was_written_down_still_issues() {
        let folder = tempfile::tempdir().expect("a folder");
        let made = Authority::make("Highways \"North\" — 北").expect("made");
        made.write(folder.path()).expect("written");
        let read = Authority::read(folder.path()).expect("readable");
        assert_eq!(read.certificate_pem(), made.certificate_pem());
        let files = TlsFiles::in_folder(&folder.path().join("unit"));
        let names = ["127.0.0.1".to_owned(), "unit.example".to_owned()];
        read.issue(
            Station::Roadside,
            &names,
            LINK_DAYS,
            read.certificate_pem(),
            &files,
        )
        .expect("issued");
        for path in files.paths() {
            let text = std::fs::read_to_string(path).expect("there");
            assert!(text.starts_with("-----BEGIN"), "{}", path.display());
        }
    }

    #[cfg(unix)]
    #[test]
    fn keys_are_their_owners_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        Authority::make("provider")
            .expect("made")
            .write(folder.path())
            .expect("written");
        let mode = std::fs::metadata(folder.path().join("authority.key"))
            .expect("there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o077, 0);
    }

    #[test]
    fn a_machine_that_keeps_its_key_is_certified_by_what_it_asks_with() {
        let folder = tempfile::tempdir().expect("a folder");
        request(&["unit.example".into(), "192.0.2.7".into()], folder.path()).expect("asked");
        let text = std::fs::read_to_string(folder.path().join("link.csr")).expect("there");
        let authority = Authority::make("provider").expect("made");
        let (certificate, names) = authority.answer(&text, Station::Roadside, 9).expect("issued");
        assert!(certificate.starts_with("-----BEGIN CERTIFICATE"));
        assert_eq!(names.len(), 2, "{names:?}");
        // A request that somebody changed on its way is not signed by its key.
        let lines: Vec<&str> = text.lines().collect();
        let mut changed: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        let middle = changed.len() / 2;
        let flipped = if changed[middle].starts_with('A') {
            "B"
        } else {
            "A"
        };
        changed[middle].replace_range(..1, flipped);
        assert!(
            authority
                .answer(&changed.join("\n"), Station::Roadside, 9)
                .is_err()
        );
    }

    #[test]
    fn a_name_that_is_none_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let authority = Authority::make("provider").expect("made");
        let files = TlsFiles::in_folder(folder.path());
        let wrong = authority.issue(Station::Roadside, &["straße.example".into()], 1, "", &files);
        assert!(matches!(wrong, Err(CertificateError::Made(_))));
    }
}
