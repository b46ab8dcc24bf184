//! Own blocks in `hybrid`: durable, then attested, then sent.
//!
//! **Guarantee:** a digest that the wormhole bound is that of a block on the own disk. So a crash at
//! any point leaves a block to go on from: were the digest bound first and the block lost, the author
//! would be silent for ever, for its next block must name this one.
//!
//! The disk holds a *draft*, the block without its attestation, until it also holds that: what comes
//! after it in the order of actions, answers to clients too, waits for both.

use std::cmp;

use super::*;

impl<P: Payload> Ordering<P> {
    /// Has a block attested once it is durable.
    pub(super) fn ask_to_attest(&mut self, body: BlockBody, out: &mut Actions<Self>) {
        let draft = self.keyring.draft_block(body);
        if !mutants::is_active("attested_before_durable") {
            out.push(Action::Persist(LogEntry::Draft(LogRecord::of(draft.block()))));
        }
        out.push(Action::Attest(draft.header()));
        self.drafted = Some(draft);
    }

    /// Whether a block of this replica's waits for its attestation, and may still go out.
    #[must_use]
    pub fn is_drafting(&self) -> bool {
        self.drafted.is_some()
    }

    /// Takes the wormhole's attestation of `header`, which this replica asked for: the block goes out,
    /// and enters here.
    pub fn on_attested(
        &mut self,
        now: Time,
        header: &BlockHeader,
        attestation: Signature,
        out: &mut Actions<Self>,
    ) {
        if self.is_over {
            return; // what stands in the draft is given back with the rest
        }
        let Some(draft) = self.drafted.take_if(|draft| draft.header() == *header) else { return };
        let block = match self.keyring.attest_block(draft, attestation) {
            Ok(block) => block,
            Err(draft) => {
                // The wormhole is not the plan's: this replica has no voice in this epoch.
                self.payload.give_back(&draft.block().body.envelopes);
                return self.recall.on_unknown_own_block(out);
            }
        };
        self.last = block.reference();
        self.made = Some(block.clone());
        self.said = now;
        out.push(Action::Broadcast(Message::Block(block.clone())));
        out.push(match mutants::is_active("attested_before_durable") {
            true => record(&block), // there is no draft
            false => {
                let place = Place { epoch: block.body.epoch, round: block.body.round };
                Action::Persist(LogEntry::Attested { place, attestation })
            }
        });
        self.insert_and_report(block, out);
        self.settle(now, out);
    }

    /// Takes back a draft from this replica's own log: of the one that the wormhole attested last, the
    /// attestation may never have reached the disk. Others were never said.
    pub fn restore_draft(&mut self, draft: Block) {
        let Authorship::Wormhole(Some(last)) = self.authorship else { return };
        if draft.body.author != self.own || draft.body.epoch != last.epoch {
            return;
        }
        let draft = self.keyring.draft_block(draft.body);
        if draft.header().reference.digest == last.digest {
            self.drafted = Some(draft);
        }
    }

    /// Whether this replica may speak: what its wormhole attested last is its last block. Nobody else
    /// need be asked, for nothing that it said can be unknown to the wormhole.
    pub(super) fn compare_with_wormhole(&mut self, out: &mut Actions<Self>) {
        let Authorship::Wormhole(attested) = self.authorship else { return };
        let digest = attested.map(|last| last.digest);
        let is_said = |draft: &mut BlockDraft| Some(draft.header().reference.digest) == digest;
        if let (Some(draft), Some(last)) = (self.drafted.take_if(is_said), attested)
            && draft.header().reference.round > self.last.round
            && let Ok(block) = self.keyring.attest_block(draft, last.signature)
        {
            out.push(record(&block));
            if block.body.round <= self.dag.horizon() {
                self.payload.give_back(&block.body.envelopes); // nobody will ever order it
            }
            self.restore(block);
        }
        let is_last = match attested.map(|last| (last.epoch.cmp(&self.keyring.epoch()), last)) {
            Some((cmp::Ordering::Equal, attested)) => {
                (attested.round, attested.digest) == (self.last.round, self.last.digest)
            }
            // It spoke in an epoch of which this replica has forgotten the beginning.
            Some((cmp::Ordering::Greater, _)) => false,
            Some((cmp::Ordering::Less, _)) | None => self.last.round == Round(0),
        };
        if is_last || mutants::is_active("amnesia_ignored") {
            self.recall.on_whole(out);
        } else {
            self.recall.on_unknown_own_block(out);
        }
    }
}

#[cfg(test)]
mod tests;
