//! The cipher suites, and their names in `tls-protocols`, `tls-ciphers` and `tls-ciphersuites`.
//!
//! `tls-ciphers` has the form of OpenSSL's cipher lists. Elements are separated by colons:
//!
//! ```text
//!   NAME     appends the suites that have all names (joined by `+`)
//!   !NAME    removes them for good
//!   -NAME    removes them
//!   +NAME    moves them to the end
//!   @WORD    OpenSSL's own rules of order; they change nothing here
//! ```
//! A name is a suite or a property. Many of OpenSSL's names stand for suites that do not exist
//! here: these select nothing. A name that OpenSSL does not know either is an error.

use super::limits::RECORDS_MAX;
use rustls::crypto::ring::ALL_CIPHER_SUITES;
use rustls::{
    CipherSuite, CipherSuiteCommon, SupportedCipherSuite, SupportedProtocolVersion,
    Tls12CipherSuite, version,
};
use std::sync::OnceLock;

/// A suite of TLS 1.2: its name, and its properties besides [`COMMON`].
type Named = (&'static str, &'static [&'static str], CipherSuite);

const NAMED: [Named; 6] = [
    (
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        &["aECDSA", "ECDSA", "AES", "AES256", "AESGCM", "SHA384", "ECDHE-ECDSA"],
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    ),
    (
        "ECDHE-RSA-AES256-GCM-SHA384",
        &["aRSA", "AES", "AES256", "AESGCM", "SHA384"],
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    ),
    (
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        &["aECDSA", "ECDSA", "CHACHA20"],
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    (
        "ECDHE-RSA-CHACHA20-POLY1305",
        &["aRSA", "CHACHA20"],
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    (
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        &["aECDSA", "ECDSA", "AES", "AES128", "AESGCM", "SHA256"],
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    ),
    (
        "ECDHE-RSA-AES128-GCM-SHA256",
        &["aRSA", "AES", "AES128", "AESGCM", "SHA256"],
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    ),
];

/// The properties of all suites of TLS 1.2 here.
const COMMON: [&str; 9] =
    ["ALL", "DEFAULT", "HIGH", "ECDHE", "EECDH", "kECDHE", "kEECDH", "TLSv1.2", "FIPS"];

/// Parts of OpenSSL's names. A name of such parts stands for suites that do not exist here.
const PARTS: [&str; 68] = [
    "3DES",
    "ADH",
    "AECDH",
    "AES",
    "AES128",
    "AES256",
    "AESCCM",
    "AESCCM8",
    "AESGCM",
    "ARIA",
    "ARIA128",
    "ARIA256",
    "ARIAGCM",
    "CAMELLIA",
    "CAMELLIA128",
    "CAMELLIA256",
    "CBC",
    "CBC3",
    "CCM",
    "CCM8",
    "CHACHA20",
    "COMPLEMENTOFALL",
    "COMPLEMENTOFDEFAULT",
    "DES",
    "DH",
    "DHE",
    "DSS",
    "ECDH",
    "ECDHE",
    "ECDHEPSK",
    "ECDSA",
    "EDH",
    "EECDH",
    "eNULL",
    "EXP",
    "EXPORT",
    "GCM",
    "GOST",
    "GOST94",
    "IDEA",
    "LOW",
    "MD5",
    "MEDIUM",
    "NULL",
    "POLY1305",
    "PSK",
    "RC2",
    "RC4",
    "RSA",
    "SEED",
    "SHA",
    "SHA1",
    "SHA256",
    "SHA384",
    "SRP",
    "SSLv3",
    "SUITEB128",
    "SUITEB192",
    "TLSv1",
    "TLSv1.0",
    "aDSS",
    "aNULL",
    "aPSK",
    "kDHE",
    "kEDH",
    "kPSK",
    "kRSA",
    "kSRP",
];

/// The suites of TLS 1.3, by the names that OpenSSL and the standard use.
const NAMED_13: [(&str, CipherSuite); 3] = [
    ("TLS_AES_256_GCM_SHA384", CipherSuite::TLS13_AES_256_GCM_SHA384),
    ("TLS_CHACHA20_POLY1305_SHA256", CipherSuite::TLS13_CHACHA20_POLY1305_SHA256),
    ("TLS_AES_128_GCM_SHA256", CipherSuite::TLS13_AES_128_GCM_SHA256),
];

/// Suites of TLS 1.3 that do not exist here.
const MISSING_13: [&str; 2] = ["TLS_AES_128_CCM_SHA256", "TLS_AES_128_CCM_8_SHA256"];

/// Returns a suite of the library.
fn suite(name: CipherSuite) -> SupportedCipherSuite {
    let found = ALL_CIPHER_SUITES.iter().find(|suite| suite.suite() == name);
    *found.expect("the library has all suites that are named here")
}

/// Returns the suite with [`RECORDS_MAX`] as its limit.
fn with_limit(suite: SupportedCipherSuite) -> SupportedCipherSuite {
    let SupportedCipherSuite::Tls12(suite) = suite else { return suite };
    let common = CipherSuiteCommon {
        suite: suite.common.suite,
        hash_provider: suite.common.hash_provider,
        confidentiality_limit: suite.common.confidentiality_limit.max(RECORDS_MAX),
    };
    // Leaked: there are six of them, made once.
    SupportedCipherSuite::Tls12(Box::leak(Box::new(Tls12CipherSuite {
        common,
        prf_provider: suite.prf_provider,
        kx: suite.kx,
        sign: suite.sign,
        aead_alg: suite.aead_alg,
    })))
}

/// Returns the suites of TLS 1.2 in the order of [`NAMED`].
fn suites_12() -> &'static [SupportedCipherSuite; 6] {
    static SUITES: OnceLock<[SupportedCipherSuite; 6]> = OnceLock::new();
    SUITES.get_or_init(|| NAMED.map(|(_, _, name)| with_limit(suite(name))))
}

/// Returns the versions that `tls-protocols` names, and whether it names unsupported ones.
///
/// # Errors
/// A name is unknown, or none of the versions exists here.
pub(super) fn protocols(
    text: &str,
) -> Result<(Vec<&'static SupportedProtocolVersion>, bool), String> {
    let both = vec![&version::TLS13, &version::TLS12];
    if text.is_empty() {
        return Ok((both, false));
    }
    let (mut wanted, mut has_missing) = (Vec::new(), false);
    for name in text.split(' ') {
        match name.to_ascii_lowercase().as_str() {
            "tlsv1" | "tlsv1.1" => has_missing = true,
            "tlsv1.2" => wanted.push(&version::TLS12),
            "tlsv1.3" => wanted.push(&version::TLS13),
            _ => {
                return Err("Invalid tls-protocols specified. Use a combination of 'TLSv1', \
                            'TLSv1.1', 'TLSv1.2' and 'TLSv1.3'."
                    .to_owned());
            }
        }
    }
    let versions: Vec<_> = both.into_iter().filter(|it| wanted.contains(it)).collect();
    if versions.is_empty() {
        return Err("Only 'TLSv1.2' and 'TLSv1.3' of tls-protocols are supported.".to_owned());
    }
    Ok((versions, has_missing))
}

/// Returns the suites that `tls-ciphers` and `tls-ciphersuites` select, in the order of preference.
///
/// # Errors
/// A name is unknown, or nothing is selected.
pub(super) fn suites(
    ciphers: &str,
    ciphersuites: &str,
) -> Result<Vec<SupportedCipherSuite>, String> {
    let old = if ciphers.is_empty() { Some((0..NAMED.len()).collect()) } else { list(ciphers) };
    let old: Vec<usize> = old
        .filter(|places: &Vec<usize>| !places.is_empty())
        .ok_or_else(|| format!("Failed to configure ciphers: {ciphers}"))?;
    let new = if ciphersuites.is_empty() {
        Some(NAMED_13.map(|(_, name)| suite(name)).to_vec())
    } else {
        list_13(ciphersuites)
    };
    let new: Vec<SupportedCipherSuite> = new
        .filter(|suites: &Vec<SupportedCipherSuite>| !suites.is_empty())
        .ok_or_else(|| format!("Failed to configure ciphersuites: {ciphersuites}"))?;
    Ok(new.into_iter().chain(old.into_iter().map(|place| suites_12()[place])).collect())
}

/// Returns the suites of a list of TLS 1.3; none if a name is unknown.
fn list_13(text: &str) -> Option<Vec<SupportedCipherSuite>> {
    let mut chosen = Vec::new();
    for name in text.split(':').filter(|name| !name.is_empty()) {
        match NAMED_13.iter().find(|(known, _)| *known == name) {
            Some((_, known)) if !chosen.contains(&suite(*known)) => chosen.push(suite(*known)),
            Some(_) => {}
            None if MISSING_13.contains(&name) => {}
            None => return None,
        }
    }
    Some(chosen)
}

/// Returns the places in [`NAMED`] that a cipher list selects; none if a name is unknown.
fn list(text: &str) -> Option<Vec<usize>> {
    let (mut chosen, mut banned): (Vec<usize>, Vec<usize>) = (Vec::new(), Vec::new());
    let elements = text.split([':', ',', ';', ' ']).filter(|element| !element.is_empty());
    for element in elements {
        if element.starts_with('@') {
            continue;
        }
        let (sign, names) = match element.split_at(1) {
            (sign @ ("!" | "-" | "+"), names) => (sign, names),
            _ => ("", element),
        };
        let selected = selected(names)?;
        match sign {
            "" => {
                let is_new = |place: &usize| !chosen.contains(place) && !banned.contains(place);
                let new: Vec<usize> = selected.into_iter().filter(is_new).collect();
                chosen.extend(new);
            }
            "+" => {
                let moved: Vec<usize> =
                    chosen.iter().copied().filter(|place| selected.contains(place)).collect();
                chosen.retain(|place| !moved.contains(place));
                chosen.extend(moved);
            }
            _ => {
                chosen.retain(|place| !selected.contains(place));
                if sign == "!" {
                    banned.extend(selected);
                }
            }
        }
    }
    Some(chosen)
}

/// Returns the places of the suites that have all names, which are joined by `+`; none if a name is
/// unknown.
fn selected(names: &str) -> Option<Vec<usize>> {
    let mut places: Vec<usize> = (0..NAMED.len()).collect();
    for name in names.split('+') {
        let has = |place: usize| {
            let (suite, properties, _) = &NAMED[place];
            *suite == name || properties.contains(&name) || COMMON.contains(&name)
        };
        let any = (0..NAMED.len()).any(has);
        let is_known = any || name.split('-').all(|part| PARTS.contains(&part));
        if !is_known {
            return None;
        }
        places.retain(|place| has(*place));
    }
    Some(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(ciphers: &str) -> Vec<&'static str> {
        let places = list(ciphers).expect("all names are known");
        places.into_iter().map(|place| NAMED[place].0).collect()
    }

    #[test]
    fn lists_select_as_openssl_does() {
        assert_eq!(list("DEFAULT:!MEDIUM").expect("known").len(), 6);
        assert_eq!(list("DEFAULT:-AES128-SHA256:@SECLEVEL=1").expect("known").len(), 6);
        assert_eq!(names("ECDHE+aRSA+CHACHA20"), ["ECDHE-RSA-CHACHA20-POLY1305"]);
        let both = ["ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384"];
        assert_eq!(names("ECDHE-RSA-AES128-GCM-SHA256,ECDHE-RSA-AES256-GCM-SHA384"), both);
        assert_eq!(names("AESGCM:!ECDSA:+AES256:ECDSA"), both);
        assert_eq!(names("ALL:-ALL:AES128+ECDSA"), ["ECDHE-ECDSA-AES128-GCM-SHA256"]);
        assert_eq!(names("DHE-RSA-AES256-GCM-SHA384:AES128-SHA"), [""; 0]);
        for unknown in ["FOO", "ECDHE-RSA-AES512-GCM-SHA384", "ALL:ecdhe", "AES+"] {
            assert_eq!(list(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn what_selects_nothing_is_refused() {
        let error = suites("AES128-SHA256:AES256-SHA256", "").expect_err("there are none");
        assert_eq!(error, "Failed to configure ciphers: AES128-SHA256:AES256-SHA256");
        let error = suites("", "TLS_AES_128_CCM_SHA256").expect_err("there is none");
        assert_eq!(error, "Failed to configure ciphersuites: TLS_AES_128_CCM_SHA256");
        assert!(suites("", "TLS_AES_512").is_err());
        let found = suites("ECDHE+AESGCM", "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384");
        let found = found.expect("they exist");
        assert_eq!((found.len(), found[0].suite()), (6, CipherSuite::TLS13_AES_128_GCM_SHA256));
        let limit = |suite: &SupportedCipherSuite| match suite {
            SupportedCipherSuite::Tls12(suite) => suite.common.confidentiality_limit,
            SupportedCipherSuite::Tls13(_) => RECORDS_MAX,
        };
        assert!(found.iter().all(|suite| limit(suite) >= RECORDS_MAX));
    }

    #[test]
    fn versions_have_names() {
        let found = |text| {
            let (versions, has_missing) = protocols(text).expect("the names are known");
            (versions.iter().map(|it| it.version).collect::<Vec<_>>(), has_missing)
        };
        assert_eq!(found("").0.len(), 2);
        assert_eq!(found("tlsv1.3 TLSv1.1"), (vec![version::TLS13.version], true));
        assert!(protocols("TLSv1 TLSv1.1").is_err());
        assert!(protocols("TLSv1.4").unwrap_err().starts_with("Invalid tls-protocols"));
    }
}
