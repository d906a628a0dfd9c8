//! A registry front whose every answer says which Portolan it is of.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use portolan_model::NodeId;
use portolan_wire::serve::{Answering, Handler, Request};

/// The field that says so.
const FIELD: HeaderName = HeaderName::from_static(NodeId::FIELD);

/// Another Portolan that reads what we tell knows whose word it is, and we know our own
/// when it comes back to us.
pub(super) struct Signed {
    handler: Arc<dyn Handler>,
    signature: Option<HeaderValue>,
}

impl Signed {
    /// Signs the answers of that handler.
    pub(super) fn new(handler: Arc<dyn Handler>, node: &NodeId) -> Self {
        // An id has only characters that a header can carry.
        let signature = HeaderValue::from_str(node.as_str()).ok();
        Self { handler, signature }
    }
}

impl Handler for Signed {
    fn handle(&self, request: Request) -> Answering {
        let answering = self.handler.handle(request);
        let signature = self.signature.clone();
        Box::pin(async move {
            let mut response = answering.await;
            if let Some(signature) = signature {
                response.headers_mut().insert(FIELD, signature);
            }
            response
        })
    }
}

#[cfg(test)]
mod tests {
    use portolan_wire::serve::empty;

    use super::*;

    #[tokio::test]
    async fn every_answer_is_signed() {
        let plain = |_: Request| async { http::Response::new(empty()) };
        let node = NodeId::of_chance([1, 2]);
        let signed = Signed::new(Arc::new(plain), &node);
        let answer = signed.handle(http::Request::new(empty())).await;
        assert_eq!(answer.headers()[NodeId::FIELD], node.as_str());
    }
}
