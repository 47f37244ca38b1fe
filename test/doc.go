// Package test holds the rules that concern the whole project, as tests: who
// may import whom, how long files may be, that the documentation tells the
// truth, and that every required behaviour has a test.
//
// Each rule is a function over the files of the project, so that it can itself
// be tested with files that break it.
package test
