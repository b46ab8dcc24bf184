//! What a response says.

use hyper::body::Bytes;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use ravelin_model::Position;
use serde::Serialize;

use super::body::Body;
use super::request::{BYTES, JSON, tag};
use crate::problem::Problem;

/// Up to where the answer reflects everything; of a change, where it was made.
pub(crate) const POSITION: HeaderName = HeaderName::from_static("ravelin-position");

/// A response in the making.
pub(crate) struct Answer {
    status: StatusCode,
    fields: Vec<(HeaderName, String)>,
    body: Body,
}

impl Answer {
    /// Without a body.
    pub(crate) fn empty(status: StatusCode) -> Self {
        Self { status, fields: Vec::new(), body: Body::Whole(None) }
    }

    /// `body` of this media type.
    pub(crate) fn of(kind: &str, body: Body) -> Self {
        let fields = vec![(header::CONTENT_TYPE, kind.to_owned())];
        Self { status: StatusCode::OK, fields, body }
    }

    /// Plain fields as JSON.
    pub(crate) fn json(shape: &impl Serialize) -> Self {
        let json = serde_json::to_vec(shape).expect("shapes have plain fields");
        Self::of(JSON, json.into())
    }

    /// Bytes as they are.
    pub(crate) fn bytes(bytes: Vec<u8>) -> Self {
        // What somebody stored is for nobody to run.
        Self::of(BYTES, bytes.into()).field(header::X_CONTENT_TYPE_OPTIONS, "nosniff")
    }

    /// Changes its status.
    pub(crate) fn status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    /// Adds a field to its header.
    pub(crate) fn field(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    /// Says up to where it reflects everything.
    pub(crate) fn at(self, position: Position) -> Self {
        self.field(POSITION, position.0.to_string())
    }

    /// Names the version of what it shows.
    pub(crate) fn tagged(self, changed: Position) -> Self {
        self.field(header::ETAG, tag(changed))
    }

    /// As it is sent.
    pub(crate) fn response(self) -> Response<Body> {
        let mut response = Response::new(self.body);
        *response.status_mut() = self.status;
        for (name, value) in self.fields {
            if let Ok(value) = HeaderValue::try_from(value) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}

impl From<Problem> for Answer {
    fn from(problem: Problem) -> Self {
        let json = Bytes::from(problem.json().to_string());
        let answer = Self::of("application/problem+json", Body::Whole(Some(json)));
        let fields = problem.headers().iter();
        fields.fold(answer.status(problem.code().status()), |answer, (name, value)| {
            answer.field(HeaderName::from_static(name), value.as_str())
        })
    }
}
