package conf

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// put writes a file with the given permissions, whatever the umask is.
func put(t *testing.T, path, content string, mode os.FileMode) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

const passwordFileText = "[broker]\nusername = 'u'\npassword_file = '%s'\n"

func TestRelativePasswordFileIsLookedForAmongTheCredentials(t *testing.T) {
	working, credentials := t.TempDir(), t.TempDir()
	t.Chdir(working)
	put(t, filepath.Join(credentials, "both"), "credential\n", 0o400)
	put(t, filepath.Join(credentials, "sub", "inner"), "inner\n", 0o400)
	put(t, filepath.Join(working, "both"), "working\n", 0o600)
	put(t, filepath.Join(working, "here"), "here\n", 0o600)
	absolute := put(t, filepath.Join(t.TempDir(), "both"), "absolute\n", 0o600)
	outside := put(t, filepath.Join(filepath.Dir(working), "outside"), "outside\n", 0o600)
	tests := []struct{ path, directory, want string }{
		{"both", credentials, "credential"},
		{"./both", credentials, "credential"},
		{"sub/inner", credentials, "inner"},
		{"here", credentials, "here"},
		{"both", "", "working"},
		{"both", filepath.Join(credentials, "missing"), "working"},
		{absolute, credentials, "absolute"},
		{"../" + filepath.Base(outside), credentials, "outside"},
	}
	for _, tt := range tests {
		file := strings.Replace(passwordFileText, "%s", tt.path, 1)
		if got := mustParse(t, file, "CREDENTIALS_DIRECTORY="+tt.directory).Broker.Password.Reveal(); got != tt.want {
			t.Errorf("%s in %q: password %q, want %q", tt.path, tt.directory, got, tt.want)
		}
		if got := mustParse(t, "", "SNGATE_BROKER_USERNAME=u", "SNGATE_BROKER_PASSWORD_FILE="+tt.path, "CREDENTIALS_DIRECTORY="+tt.directory); got.Broker.Password.Reveal() != tt.want {
			t.Errorf("%s by the environment: password %q, want %q", tt.path, got.Broker.Password.Reveal(), tt.want)
		}
	}
}

func TestMissingPasswordFileSaysWhereItWasLookedFor(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, tt := range []struct{ path, directory, want string }{
		{"missing", "", "no such file or directory; looked for in the working directory"},
		{"missing", t.TempDir(), "no such file or directory; looked for in $CREDENTIALS_DIRECTORY and in the working directory"},
		{"/missing/file", t.TempDir(), "no such file or directory"},
	} {
		got := mustRefuse(t, strings.Replace(passwordFileText, "%s", tt.path, 1), "CREDENTIALS_DIRECTORY="+tt.directory)
		if want := "test.toml:3: broker.password_file: cannot be read: " + tt.want; got != want {
			t.Errorf("got %s\nwant %s", got, want)
		}
	}
}

// The unit gives a credential without a file the content "\n", so that it starts.
func TestCredentialThatWasNotLoadedIsAFault(t *testing.T) {
	credentials := t.TempDir()
	put(t, filepath.Join(credentials, "password"), "\n", 0o400)
	got := mustRefuse(t, strings.Replace(passwordFileText, "%s", "password", 1), "CREDENTIALS_DIRECTORY="+credentials)
	if want := "test.toml:3: broker.password_file: names an empty credential; is the file there that LoadCredential= names?"; got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	if _, err := Parse("", nil, []string{"CREDENTIALS_DIRECTORY=" + credentials}); err != nil {
		t.Errorf("a credential that nobody asks for: %v", err)
	}
}

func TestPasswordFileOfAnotherUserSaysWhatToDo(t *testing.T) {
	for _, path := range []string{"/etc/sngate/password", "password"} {
		got := (&decoder{credentials: "/run/credentials"}).advice(path, &fs.PathError{Op: "open", Path: path, Err: syscall.EACCES})
		if !strings.Contains(got, "LoadCredential=") {
			t.Errorf("%s: %q", path, got)
		}
	}
}

func TestStoreIsNotMadeOfACredential(t *testing.T) {
	credentials := t.TempDir()
	path := put(t, filepath.Join(credentials, "password"), "secret", 0o600)
	got := mustRefuse(t, strings.Replace(passwordFileText, "%s", "password", 1)+"[store]\npath = '"+path+"'", "CREDENTIALS_DIRECTORY="+credentials)
	if !strings.Contains(got, "store.path: is the file of broker.password_file") {
		t.Error(got)
	}
}

func TestFilesThatOthersCanReadAreWarnedOf(t *testing.T) {
	const inline, plain = "[broker]\nusername = 'u'\npassword = 'hunter2'\n", "[gateway]\nid = 2\n"
	tests := []struct {
		name           string
		content        string // "%s" is the password's file
		mode, password os.FileMode
		env            string
		want           []string
	}{
		{"private", inline, 0o600, 0, "", nil},
		{"of a group", inline, 0o660, 0, "", nil},
		{"readable", inline, 0o644, 0, "", []string{"broker.password: other users can read FILE, which has the password in it (mode 0644); want chmod o-rwx, or the password in broker.password_file"}},
		{"writable", inline, 0o602, 0, "", []string{"broker.password: other users can write FILE, which has the password in it (mode 0602); want chmod o-rwx, or the password in broker.password_file"}},
		{"both", inline, 0o666, 0, "", []string{"broker.password: other users can read and write FILE, which has the password in it (mode 0666); want chmod o-rwx, or the password in broker.password_file"}},
		{"password overridden", inline, 0o644, 0, "SNGATE_BROKER_PASSWORD=other", []string{"broker.password: other users can read FILE, which has the password in it (mode 0644); want chmod o-rwx, or the password in broker.password_file"}},
		{"no password", plain, 0o644, 0, "", nil},
		{"no password, writable", plain, 0o646, 0, "", []string{"other users can write FILE (mode 0646); want chmod o-w"}},
		{"password in the environment", plain, 0o644, 0, "SNGATE_BROKER_PASSWORD=other", nil},
		{"private file", passwordFileText, 0o644, 0o640, "", nil},
		{"password of a device", "[[broker.device]]\nclient = 'a'\nusername = 'u'\npassword = 'hunter2'\n", 0o644, 0, "", []string{"broker.password: other users can read FILE, which has the password in it (mode 0644); want chmod o-rwx, or the password in broker.password_file"}},
		{"readable file", passwordFileText, 0o644, 0o644, "", []string{"broker.password_file: other users can read the file that it names (mode 0644); want chmod o-rwx"}},
		{"writable file", passwordFileText, 0o644, 0o622, "", []string{"broker.password_file: other users can write the file that it names (mode 0622); want chmod o-rwx"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			password := put(t, filepath.Join(dir, "password"), "secret", tt.password|0o400)
			path := put(t, filepath.Join(dir, "sngate.toml"), strings.Replace(tt.content, "%s", password, 1), tt.mode)
			env := []string{tt.env, "SNGATE_BROKER_USERNAME=u"}
			_, warnings, err := Load(path, env)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, w := range warnings {
				got = append(got, strings.ReplaceAll(w.String(), path, "FILE"))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
