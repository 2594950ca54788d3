//! Numbers that commands of several families read from their words, with the same refusals.

use crate::base::number::parse_i64;
use crate::resp::Error;

/// The number in a word, in 32 bits.
pub(super) fn int_at(word: &[u8]) -> Result<i32, Error> {
    let number = parse_i64(word).ok_or(Error::NotInteger)?;
    let outside = || Error::not_between(i64::from(i32::MIN), i64::from(i32::MAX));
    i32::try_from(number).map_err(|_| outside())
}

/// The database that a word names, of so many.
pub(super) fn database_at(word: &[u8], databases: usize) -> Result<usize, Error> {
    let number = usize::try_from(int_at(word)?).map_err(|_| Error::DbOutOfRange)?;
    if number < databases { Ok(number) } else { Err(Error::DbOutOfRange) }
}
