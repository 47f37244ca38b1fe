package conf

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"

	"sngate/internal/secretfile"
)

// maxMQTTText bounds a text that MQTT carries, in octets: it writes the length in 16 bits.
const maxMQTTText = 65535

// credentialsVariable names the directory where systemd puts what LoadCredential= loads.
const credentialsVariable = "CREDENTIALS_DIRECTORY"

// password reads the password's file. Neither is shown in a message: somebody may have put
// the password itself where its file belongs.
func (d *decoder) password(b *Broker) {
	const at = "broker.password_file"
	path, given := b.PasswordFile.Reveal(), "broker.password"
	if path != "" && b.Password.Reveal() != "" {
		d.fault(at, "is set, and broker.password as well; want only one of them")
		return
	}
	if path != "" {
		given = at
		data, err := d.readPassword(b, path)
		if err != nil {
			d.unreadable(at, path, err)
			return
		}
		text := lastLineEndCut(data)
		if text == "" {
			if b.PasswordFile.Reveal() != path {
				d.fault(at, "names an empty credential; is the file there that LoadCredential= names?")
			} else {
				d.fault(at, "names an empty file")
			}
			return
		}
		if len(text) > maxMQTTText {
			d.fault(at, "names a file with a password longer than %d octets", maxMQTTText)
			return
		}
		b.Password = NewSecret(text)
	}
	if b.Password.Reveal() != "" && b.Username == "" && !d.bad["broker.username"] && b.CredentialsFile == "" && len(b.Device) == 0 {
		d.fault(given, "needs broker.username as well; MQTT has no password without a user name")
	}
}

// lastLineEndCut is the text of a file with a password.
func lastLineEndCut(data []byte) string {
	return strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
}

// unreadable notes that the file of a key could not be read, without its name.
func (d *decoder) unreadable(key, path string, err error) {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		err = pathErr.Err
	}
	d.fault(key, "cannot be read: %v%s", err, d.advice(path, err))
}

// readPassword reads the file at path. A relative one is looked for among the credentials
// of the service first, and b.PasswordFile is the file that was found.
func (d *decoder) readPassword(b *Broker, path string) ([]byte, error) {
	path, loaded := d.locate(path)
	if loaded {
		b.PasswordFile = NewSecret(path)
	}
	return readFile(path, maxMQTTText+2)
}

// locate finds a file that is named by path. loaded: it is a credential of the service, and
// systemd says who can read it.
func (d *decoder) locate(path string) (found string, loaded bool) {
	return secretfile.Locate(path, d.credentials)
}

// inCredentials reports whether a file is looked for in the credentials' directory. A path
// that leads out of it is none of them.
func (d *decoder) inCredentials(path string) bool {
	return d.credentials != "" && filepath.IsLocal(path)
}

// advice says what to do about a file that could not be read, or where it was looked for.
func (d *decoder) advice(path string, err error) string {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return "; the user that sngate runs as has to be able to read it, or systemd to load it (LoadCredential=)"
	case d.inCredentials(path):
		return "; looked for in $" + credentialsVariable + " and in the working directory"
	case !filepath.IsAbs(path):
		return "; looked for in the working directory"
	}
	return ""
}
