// Package bench measures sngate as its operators meet it, the built program with a real
// mosquitto, beside a yardstick: the program in floor/, which does the least that has to be
// done. A ratio of two programs that ran a moment apart on one machine says more than
// microseconds, which every machine has of its own.
//
// "go test" compares a few seconds of traffic, with much leeway, so that a gateway that has
// become several times slower is noticed. "make bench" measures all of measures_test.go and
// rewrites docs/PERFORMANCE.md, "make sizing" the table of docs/SIZING.md, "make profile" the
// profile that sngate is compiled by.
//
// A table is data: its loads say what runs, its measures which number of the result counts,
// what it is compared with, and where it shall come to.
package bench
