//! Follows the frames of an HTTP/2 connection, as a client sends them, far enough to know whether a header block has
//! begun and not ended. hyper keeps no time for one, and nothing else can happen until it ends (RFC 9113 §6.10).

/// RFC 9113 §4.1.
const FRAME_HEAD: usize = 9;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

#[derive(Debug, Default)]
pub(super) struct Blocks {
    head: [u8; FRAME_HEAD],
    have: usize,
    /// Bytes of the frame's payload that are still to come.
    left: usize,
    begun: u64,
    within: bool,
    /// This frame ends it.
    last: bool,
}

impl Blocks {
    /// Goes on by what came, all of it behind the preface.
    pub(super) fn pass(&mut self, mut bytes: &[u8]) {
        while let Some((&first, rest)) = bytes.split_first() {
            if self.left > 0 {
                let skipped = self.left.min(bytes.len());
                self.left -= skipped;
                bytes = bytes.get(skipped..).unwrap_or_default();
            } else {
                if let Some(place) = self.head.get_mut(self.have) {
                    *place = first;
                }
                self.have += 1;
                bytes = rest;
                if self.have < FRAME_HEAD {
                    continue;
                }
                self.frame();
            }
            if self.left == 0 && self.last {
                (self.within, self.last) = (false, false);
            }
        }
    }

    /// A frame's head is complete.
    fn frame(&mut self) {
        let [a, b, c, kind, flags, ..] = self.head;
        self.have = 0;
        self.left = usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap_or(usize::MAX);
        if kind == HEADERS {
            self.begun += 1;
            self.within = true;
        }
        if matches!(kind, HEADERS | CONTINUATION) {
            self.last = flags & END_HEADERS != 0;
        }
    }

    /// The number, from 1, of the header block that has begun and not ended.
    pub(super) fn within(&self) -> Option<u64> {
        self.within.then_some(self.begun)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, length: u8) -> Vec<u8> {
        let mut frame = vec![0, 0, length, kind, flags, 0, 0, 0, 1];
        // A payload that would be frames of its own.
        frame.extend([0, 0, 0, HEADERS, 0, 0, 0, 0, 1].iter().cycle().take(length.into()));
        frame
    }

    #[test]
    fn a_block_lasts_from_its_first_frames_head_to_its_last_ones_end() {
        let (settings, data) = (frame(4, 0, 0), frame(0, 1, 200));
        let whole = [&settings[..], &frame(HEADERS, END_HEADERS | 1, 30), &data].concat();
        let mut blocks = Blocks::default();
        blocks.pass(&whole);
        assert_eq!(blocks.within(), None);

        let split = [frame(HEADERS, 1, 30), frame(CONTINUATION, 0, 0), frame(CONTINUATION, END_HEADERS, 7)];
        let stream = [settings, split.concat(), data].concat();
        let (from, to) = (9 + 9, 9 + 39 + 9 + 16);
        for cut in [1, 2, 5, 9, 10, 31, stream.len()] {
            let (mut blocks, mut passed) = (Blocks::default(), 0);
            for chunk in stream.chunks(cut) {
                blocks.pass(chunk);
                passed += chunk.len();
                let expected = (from..to).contains(&passed).then_some(1);
                assert_eq!(blocks.within(), expected, "{passed} bytes by {cut}");
            }
            blocks.pass(&frame(HEADERS, 0, 3));
            assert_eq!(blocks.within(), Some(2), "the next one has its own number");
        }
    }
}
