// Package version holds the version of the program, in one place.
package version

// Version follows semantic versioning. A "-dev" ending means: on the way there.
const Version = "0.1.0-dev"
