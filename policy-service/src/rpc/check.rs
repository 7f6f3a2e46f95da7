//! Decisions.

use chassis::status::invalid;
use proto::policy::v1 as wire;
use proto::policy::v1::check_service_server::CheckService;
use tonic::{Request, Response, Status};

use super::{Behind, message, status};
use crate::domain::{At, Decision, Question, Revision};
use crate::flows;

/// The most questions in a batch.
const MAX_BATCH: usize = 1_000;

/// Answers checks.
pub struct Checks(pub Behind);

impl Checks {
    async fn decide(&self, questions: &[Question], at_least: u64) -> Result<At<Vec<Decision>>, Status> {
        let decided = self.decided(questions, at_least).await;
        match &decided {
            Ok(decided) => self.0.counts.decided(&decided.value),
            Err(_) => self.0.counts.unavailable(questions.len()),
        }
        decided
    }

    async fn decided(&self, questions: &[Question], at_least: u64) -> Result<At<Vec<Decision>>, Status> {
        let at_least = self.0.at_least(at_least)?;
        let decided = flows::check::check(self.0.store.as_ref(), questions, at_least).await;
        let decided = decided.map_err(|error| status::of_read(&error))?;
        self.0.must_have_right()?;
        Ok(decided)
    }
}

#[tonic::async_trait]
impl CheckService for Checks {
    async fn check(
        &self,
        request: Request<wire::CheckRequest>,
    ) -> Result<Response<wire::CheckResponse>, Status> {
        let (question, at_least) = message::question("", request.into_inner())?;
        let At { value, revision } = self.decide(std::slice::from_ref(&question), at_least).await?;
        // One question has one decision; were there none, the reply would say UNSPECIFIED, which nobody takes for allow.
        let reply = value.into_iter().next().map(|decision| response(decision, revision)).unwrap_or_default();
        Ok(Response::new(reply))
    }

    async fn batch_check(
        &self,
        request: Request<wire::BatchCheckRequest>,
    ) -> Result<Response<wire::BatchCheckResponse>, Status> {
        let wire::BatchCheckRequest { checks } = request.into_inner();
        if checks.len() > MAX_BATCH {
            return Err(invalid("checks", "BATCH_TOO_LARGE", "must hold at most 1,000 checks"));
        }
        let mut questions = Vec::with_capacity(checks.len());
        let mut at_least = 0;
        for (number, check) in checks.into_iter().enumerate() {
            let (question, asked) = message::question(&format!("checks[{number}]."), check)?;
            questions.push(question);
            // All answers share one revision, so it must satisfy the most demanding question.
            at_least = at_least.max(asked);
        }
        let At { value, revision } = self.decide(&questions, at_least).await?;
        let results = value.into_iter().map(|decision| response(decision, revision)).collect();
        Ok(Response::new(wire::BatchCheckResponse { results }))
    }
}

fn response(decision: Decision, revision: Revision) -> wire::CheckResponse {
    let (decision, grants) = match decision {
        Decision::Allow { grants } => {
            (wire::Decision::Allow, grants.iter().map(ToString::to_string).collect())
        }
        Decision::Deny => (wire::Decision::Deny, Vec::new()),
    };
    wire::CheckResponse { decision: decision.into(), revision: revision.0, grants }
}
