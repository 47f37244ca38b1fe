package conf

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// write makes a file and returns its path.
func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestStoreInTheConfigurationFileIsRefused(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	write(t, "sngate.toml", "")
	if err := os.Symlink("sngate.toml", "link.db"); err != nil {
		t.Fatal(err)
	}
	if err := os.Link("sngate.toml", "hard.db"); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"sngate.toml", "./x/../sngate.toml", filepath.Join(dir, "sngate.toml"), "link.db", "hard.db"} {
		write(t, "sngate.toml", "[store]\npath = '"+path+"'\n")
		for _, name := range []string{"sngate.toml", filepath.Join(dir, "sngate.toml")} {
			cfg, _, err := Load(name, nil)
			want := name + ":2: store.path: is this configuration file; want a file of its own"
			if cfg != nil || err == nil || err.Error() != want {
				t.Errorf("%s in %s: %v, want %q", path, name, err, want)
			}
		}
	}
	if _, err := Parse("not there.toml", []byte("[store]\npath = 'not there.toml'"), nil); err == nil {
		t.Error("the name of a file that was given by its text alone is accepted")
	}
	if _, err := Parse("", nil, []string{"SNGATE_STORE_PATH=sngate.toml"}); err != nil {
		t.Errorf("without a configuration file: %v", err)
	}
}

func TestStoreInThePasswordFileIsRefused(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "secret-name", "password")
	got := mustRefuse(t, "[broker]\nusername = 'u'\npassword_file = 'secret-name'\n[store]\npath = './secret-name'")
	if want := "test.toml:5: store.path: is the file of broker.password_file; want a file of its own"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	mustParse(t, "[broker]\nusername = 'u'\npassword_file = 'secret-name'\n[store]\npath = 'other'")
}

func TestWhatNeedsAStoreInAFileIsRefusedWithout(t *testing.T) {
	const memory = "[store]\npath = ''\n"
	for text, want := range map[string]string{
		"[gateway]\non_stop = 'keep'\n": `test.toml:4: gateway.on_stop: "keep" needs a store in a file, and store.path is empty; want "" or "disconnect", or a file in store.path`,
		"[spool]\nqos0 = true\n":        `test.toml:4: spool.qos0: needs a store in a file, and store.path is empty; want false, or a file in store.path`,
	} {
		if got := mustRefuse(t, memory+text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
		mustParse(t, text)
	}
	for _, text := range []string{"", "[gateway]\non_stop = 'disconnect'", "[gateway]\non_stop = ''", "[spool]\nqos0 = false", "[spool]\nenabled = true"} {
		mustParse(t, memory+text)
	}
	if got := mustRefuse(t, "", "SNGATE_STORE_PATH=", "SNGATE_GATEWAY_ON_STOP=keep"); !strings.HasPrefix(got, "SNGATE_GATEWAY_ON_STOP: gateway.on_stop: ") {
		t.Error(got)
	}
}

func TestALimitAgainstADefaultSaysWhatToSet(t *testing.T) {
	const total = "spool.total_bytes (67108864"
	for text, want := range map[string]string{
		"[store]\nmax_bytes = 1048576": "test.toml:2: store.max_bytes: " + total + ", the default) is above store.max_bytes (1048576); set spool.total_bytes to 1048576 or less",
		"[spool]\nmax_bytes = 67108865": "test.toml:2: spool.max_bytes: spool.max_bytes (67108865) is above " +
			total + ", the default); lower it, or set spool.total_bytes to 67108865 or more",
		"[spool]\ntotal_bytes = 67108864\n[store]\nmax_bytes = 1048576": "test.toml:4: store.max_bytes: " + total + ") is above store.max_bytes (1048576)",
	} {
		if got := mustRefuse(t, text); got != want {
			t.Errorf("%q:\n got %q\nwant %q", text, got, want)
		}
	}
	mustParse(t, "[store]\nmax_bytes = 1048576\n[spool]\ntotal_bytes = 1048576")
}
