package version

import (
	"runtime/debug"
	"testing"
)

func TestCommitOfBuild(t *testing.T) {
	tests := []struct {
		settings []debug.BuildSetting
		want     string
	}{
		{nil, "unknown"},
		{[]debug.BuildSetting{{Key: "GOOS", Value: "linux"}}, "unknown"},
		{[]debug.BuildSetting{{Key: "vcs.revision"}, {Key: "vcs.modified", Value: "true"}}, "unknown"},
		{[]debug.BuildSetting{{Key: "vcs.revision", Value: "6c014aa"}, {Key: "vcs.modified", Value: "false"}}, "6c014aa"},
		{[]debug.BuildSetting{{Key: "vcs.modified", Value: "true"}, {Key: "vcs.revision", Value: "7d2"}}, "7d2-dirty"},
	}
	for _, tt := range tests {
		if got := commitOf(tt.settings); got != tt.want {
			t.Errorf("%v: %q, want %q", tt.settings, got, tt.want)
		}
	}
}
