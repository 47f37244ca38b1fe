package topicreg

import (
	"strings"
	"unicode/utf8"
)

// Match reports whether client matches pattern, in which '*' stands for any run of
// characters, also an empty one, and '?' for exactly one character; everything else
// stands for itself. A pattern without either is an exact client id. It allocates
// nothing and takes at most len(pattern) * len(client) steps.
func Match(pattern, client string) bool {
	p, c := 0, 0
	star, resume := -1, 0 // behind the last '*', and where the run it stands for ends
	for c < len(client) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			p++
			star, resume = p, c
		case p < len(pattern) && pattern[p] == '?':
			p++
			c += charLen(client[c:])
		case p < len(pattern) && pattern[p] == client[c]:
			p++
			c++
		case star >= 0:
			// The run of the last '*' takes one character more. Earlier ones need not
			// be tried again: the last can make up for anything they leave.
			resume += charLen(client[resume:])
			p, c = star, resume
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// charLen is the number of octets of the first character of s. An octet that is no
// UTF-8 counts as a character.
func charLen(s string) int {
	if s[0] < utf8.RuneSelf {
		return 1
	}
	_, size := utf8.DecodeRuneInString(s)
	return size
}

// isPattern reports whether a client field is a pattern and not an exact client id.
func isPattern(client string) bool { return strings.ContainsAny(client, "*?") }

// specificity is the number of characters of a pattern that stand for themselves.
func specificity(pattern string) int {
	return utf8.RuneCountInString(pattern) - strings.Count(pattern, "*") - strings.Count(pattern, "?")
}

// overlap reports whether some client id matches both patterns, exactly. It walks the
// product of the two: meet[j] says whether the rest of a from the current character
// and the rest of b from its j-th have a match in common.
func overlap(a, b string) bool {
	p, q := []rune(a), []rune(b)
	meet, below := make([]bool, len(q)+1), make([]bool, len(q)+1)
	for i := len(p); i >= 0; i-- {
		for j := len(q); j >= 0; j-- {
			atP, atQ := i < len(p), j < len(q)
			switch {
			case !atP && !atQ:
				meet[j] = true
			case atP && p[i] == '*' || atQ && q[j] == '*':
				// A '*' ends here, or takes in one element more of the other side: either
				// way one side moves on by one.
				meet[j] = atP && below[j] || atQ && meet[j+1]
			case atP && atQ:
				meet[j] = (p[i] == q[j] || p[i] == '?' || q[j] == '?') && below[j+1]
			default:
				meet[j] = false
			}
		}
		meet, below = below, meet
	}
	return below[0]
}
