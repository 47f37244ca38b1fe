package mosquitto

import (
	"bytes"
	"crypto/rand"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
)

// passwordFile renders users in the format of mosquitto's password_file, hash
// type 6: SHA-512 over the password followed by the salt. It is the one type
// that every version from 1.0 on understands; test passwords need no better.
func passwordFile(users map[string]string) []byte {
	var out bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(users)) {
		salt := make([]byte, 12)
		rand.Read(salt) // never fails
		sum := sha512.Sum512(append([]byte(users[name]), salt...))
		fmt.Fprintf(&out, "%s:$6$%s$%s\n", name,
			base64.StdEncoding.EncodeToString(salt), base64.StdEncoding.EncodeToString(sum[:]))
	}
	return out.Bytes()
}
