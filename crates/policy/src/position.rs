//! The positions of statements in a document, as the policy simulator shows them
//! (<https://docs.aws.amazon.com/IAM/latest/APIReference/API_Statement.html>).

/// A position in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
}

/// The begin and end of a statement, as in the examples of AWS's simulator: from behind the bracket or comma
/// before it (behind its own brace if it is not in a list) to behind its last brace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// The begin.
    pub start: Position,
    /// The end.
    pub end: Position,
}

/// The spans of the statements of a JSON document: the objects in the member `Statement`, which is a list or an
/// object.
pub(crate) fn spans(text: &str) -> Vec<Span> {
    let mut scan = Scan::default();
    text.chars().for_each(|c| scan.take(c));
    scan.found
}

#[derive(Default)]
struct Scan {
    at: Position,
    depth: usize,
    in_string: bool,
    escaped: bool,
    /// The last string at the top level: a member's name.
    word: String,
    listed: bool,
    start: Position,
    found: Vec<Span>,
}

impl Scan {
    fn take(&mut self, c: char) {
        if self.at == Position::default() {
            self.at = Position { line: 1, column: 1 };
        }
        if c == '\n' {
            self.at.line += 1;
            self.at.column = 1;
        } else {
            self.at.column += 1;
        }
        if self.in_string {
            self.take_in_string(c);
        } else {
            self.take_structure(c);
        }
    }

    fn take_in_string(&mut self, c: char) {
        match (self.escaped, c) {
            (true, _) => self.escaped = false,
            (false, '\\') => self.escaped = true,
            (false, '"') => self.in_string = false,
            (false, c) if self.depth == 1 => self.word.push(c),
            _ => {}
        }
    }

    /// Statements are objects at depth 2, or at depth 3 in a list.
    fn take_structure(&mut self, c: char) {
        let level = if self.listed { 3 } else { 2 };
        match c {
            '"' => {
                self.in_string = true;
                if self.depth == 1 {
                    self.word.clear();
                }
            }
            '[' | '{' => {
                self.depth += 1;
                if self.depth == 2 {
                    self.listed = c == '[';
                    self.start = self.at;
                }
            }
            '}' if self.depth == level && self.word == "Statement" => {
                self.depth -= 1;
                self.found.push(Span {
                    start: self.start,
                    end: self.at,
                });
            }
            ']' | '}' => {
                self.depth = self.depth.saturating_sub(1);
                self.listed &= self.depth > 1;
            }
            ',' if self.depth == 2 && self.listed => self.start = self.at,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_where_the_simulator_says() {
        let at = |line, column| Position { line, column };
        // The examples of the AWS CLI's simulate-custom-policy and simulate-principal-policy.
        let alone = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"dynamodb:*","Resource":"*","Condition":{"DateGreaterThan":{"aws:CurrentTime":"2018-08-16T12:00:00Z"}}}}"#;
        let listed = concat!(
            "{\n    \"Version\": \"2012-10-17\",\n    \"Statement\": [\n        {\n",
            "            \"Effect\": \"Allow\",\n            \"Action\": \"a:b{\\\"\",\n",
            "            \"Resource\": [\"*\"],\n            \"Sid\": \"x\"\n        }, {}\n    ]\n}"
        );
        let span = |start, end| Span { start, end };
        assert_eq!(spans(alone), [span(at(1, 38), at(1, 167))]);
        let both = [span(at(3, 19), at(9, 10)), span(at(9, 11), at(9, 14))];
        assert_eq!(spans(listed), both);
        assert_eq!(spans(r#"{"Id":{"Statement":{}}}"#), []);
    }
}
