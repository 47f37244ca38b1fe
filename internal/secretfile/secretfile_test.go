package secretfile

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestRelativePathsAreLookedForInWhatIsLoaded(t *testing.T) {
	loaded := t.TempDir()
	t.Chdir(t.TempDir())
	if err := os.Symlink("nowhere", filepath.Join(loaded, "link")); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{".", loaded} {
		if err := os.WriteFile(filepath.Join(dir, "both"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	inside := filepath.Join(loaded, "both")
	for _, tt := range []struct{ path, loaded, want string }{
		{"both", loaded, inside},
		{"./both", loaded, inside},
		{"x/../both", loaded, inside},
		{"both", "", "both"},
		{"both", loaded + "/none", "both"},
		{"none", loaded, "none"},
		{"link", loaded, filepath.Join(loaded, "link")}, // it is meant, and its fault is told
		{"../both", loaded + "/x", "../both"},
		{inside, loaded, inside},
		{"", loaded, ""},
	} {
		found, isLoaded := Locate(tt.path, tt.loaded)
		if found != tt.want || isLoaded != (found != tt.path) {
			t.Errorf("%q in %q: %q, %v; want %q", tt.path, tt.loaded, found, isLoaded, tt.want)
		}
	}
}

func TestTheGroupMayReadWhatIsLoaded(t *testing.T) {
	for _, tt := range []struct {
		path, loaded string
		want         fs.FileMode
	}{
		{"/run/c/key", "/run/c", 0o007},
		{"/run/c/key", "/run/c/", 0o007},
		{"/run/c/sub/key", "/run/c", 0o007},
		{"/run/cx/key", "/run/c", 0o077},
		{"/run/c", "/run/c", 0o077},
		{"/run/c/key", "", 0o077},
	} {
		if got := Shut(tt.path, tt.loaded); got != tt.want {
			t.Errorf("%s in %q: %04o, want %04o", tt.path, tt.loaded, got, tt.want)
		}
	}
}
