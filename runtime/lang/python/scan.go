package python

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// token is a name, a number, a string or one character of punctuation.
type token struct {
	kind byte // 'n' name or number, 's' string, 'o' other
	text string
	line int
}

func (t token) is(text string) bool { return t.kind != 's' && t.text == text }

// statement is one logical line: a line, or several held together by
// brackets, by a backslash or within a string.
type statement struct {
	indent int // bytes of white space before it
	tokens []token
}

// scan splits Python source into statements. It knows as much of the grammar
// (https://docs.python.org/3/reference/lexical_analysis.html) as is needed to
// never take the inside of a string or comment for code; the rest is left to
// Python, which says better what is wrong with a file.
func scan(source string) ([]statement, error) {
	s := scanner{source: strings.TrimPrefix(source, "\ufeff"), line: 1}
	for s.at < len(s.source) {
		if err := s.next(); err != nil {
			return nil, err
		}
	}
	s.end()
	return s.statements, nil
}

type scanner struct {
	source     string
	at, line   int
	depth      int // of open brackets
	begun      bool
	current    statement
	statements []statement
}

// next takes one token, or white space, from the source.
func (s *scanner) next() error {
	c := s.source[s.at]
	switch {
	case c == '\n':
		if s.depth == 0 {
			s.end()
		}
		s.line++
		s.at++
	case c == '\\' && (strings.HasPrefix(s.source[s.at:], "\\\n") || strings.HasPrefix(s.source[s.at:], "\\\r\n")):
		s.at += strings.IndexByte(s.source[s.at:], '\n') + 1
		s.line++
	case c == ' ' || c == '\t' || c == '\r' || c == '\f':
		if !s.begun && s.depth == 0 {
			s.current.indent++
		}
		s.at++
	case c == '#':
		if length := strings.IndexByte(s.source[s.at:], '\n'); length >= 0 {
			s.at += length
		} else {
			s.at = len(s.source)
		}
	case c == '"' || c == '\'':
		return s.str()
	case nameByte(c):
		s.name()
	default:
		s.punctuation(c)
	}
	return nil
}

func (s *scanner) name() {
	from := s.at
	for s.at < len(s.source) && nameByte(s.source[s.at]) {
		s.at++
	}
	text := s.source[from:s.at]
	// The prefix of a string (r, b, f, u and pairs of them) is no name.
	if s.at < len(s.source) && (s.source[s.at] == '"' || s.source[s.at] == '\'') && len(text) <= 2 &&
		strings.Trim(strings.ToLower(text), "rbfu") == "" {
		return
	}
	s.add('n', text, s.line)
}

// str takes a string of any kind of quotes. A backslash keeps the next
// character from ending it, in raw strings too.
func (s *scanner) str() error {
	from, line := s.at, s.line
	quote := s.source[from : from+1]
	if triple := strings.Repeat(quote, 3); strings.HasPrefix(s.source[from:], triple) {
		quote = triple
	}
	for at := from + len(quote); at < len(s.source); {
		switch {
		case s.source[at] == '\\':
			if at+1 < len(s.source) && s.source[at+1] == '\n' {
				s.line++
			}
			at += 2
		case strings.HasPrefix(s.source[at:], quote):
			s.at = at + len(quote)
			s.add('s', s.source[from+len(quote):at], line)
			return nil
		case s.source[at] == '\n' && len(quote) == 1:
			return fmt.Errorf("line %d: the string that begins here is not closed", line)
		default:
			if s.source[at] == '\n' {
				s.line++
			}
			at++
		}
	}
	return fmt.Errorf("line %d: the string that begins here is not closed", line)
}

func (s *scanner) punctuation(c byte) {
	switch c {
	case '(', '[', '{':
		s.depth++
	case ')', ']', '}':
		s.depth = max(0, s.depth-1)
	case ';':
		if s.depth == 0 { // another statement with the same indentation
			indent := s.current.indent
			s.end()
			s.current.indent = indent
			s.begun = true
			s.at++
			return
		}
	}
	s.add('o', string(c), s.line)
	s.at++
}

func (s *scanner) add(kind byte, text string, line int) {
	s.begun = true
	s.current.tokens = append(s.current.tokens, token{kind, text, line})
}

func (s *scanner) end() {
	if len(s.current.tokens) > 0 {
		s.statements = append(s.statements, s.current)
	}
	s.current, s.begun = statement{}, false
}

func nameByte(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= utf8.RuneSelf
}
