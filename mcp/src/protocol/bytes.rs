//! What the two incremental decoders share: a bounded buffer, the byte order mark.

#[cfg(test)]
mod tests;

/// The UTF-8 byte order mark.
pub(super) const BOM: &[u8] = b"\xEF\xBB\xBF";

/// A buffer that grew beyond this for one large message does not keep its memory: connections that wait are many.
pub(super) const KEPT_CAPACITY: usize = 1024;

/// Appends `bytes`, doubling the capacity as usual but never beyond `max`; the caller has checked
/// that they fit.
pub(crate) fn append(buffer: &mut Vec<u8>, bytes: &[u8], max: usize) {
    let needed = buffer.len() + bytes.len();
    if needed > buffer.capacity() {
        let target = buffer.capacity().saturating_mul(2).min(max).max(needed);
        buffer.reserve_exact(target - buffer.len());
    }
    buffer.extend_from_slice(bytes);
}

/// Empties the buffer and gives the memory of a large message back.
pub(super) fn reset(buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.shrink_to(KEPT_CAPACITY);
}

/// Removes one byte order mark from the start of a stream, however it is split.
#[derive(Debug, Default)]
pub(super) struct BomFilter {
    matched: usize,
    decided: bool,
}

impl BomFilter {
    /// Returns bytes held back from earlier chunks that turned out to be content, and what is left
    /// of `chunk`.
    pub(super) fn strip<'a>(&mut self, mut chunk: &'a [u8]) -> (&'static [u8], &'a [u8]) {
        while !self.decided {
            let Some((first, rest)) = chunk.split_first() else {
                return (&[], chunk);
            };
            if *first != BOM[self.matched] {
                self.decided = true;
                return (&BOM[..self.matched], chunk);
            }
            chunk = rest;
            self.matched += 1;
            self.decided = self.matched == BOM.len();
        }
        (&[], chunk)
    }
}
