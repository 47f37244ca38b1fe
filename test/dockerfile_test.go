package test

import (
	"bytes"
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// instruction is one instruction of a Dockerfile, continuation lines joined.
type instruction struct {
	line int
	name string
	args string
}

func instructions(text string) []instruction {
	var found []instruction
	lines := strings.Split(text, "\n")
	for i := 0; i < len(lines); i++ {
		start, line := i, strings.TrimSpace(lines[i])
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		for strings.HasSuffix(line, `\`) && i+1 < len(lines) {
			i++
			line = strings.TrimSuffix(line, `\`) + strings.TrimSpace(lines[i])
		}
		name, args, _ := strings.Cut(line, " ")
		found = append(found, instruction{start + 1, strings.ToUpper(name), strings.TrimSpace(args)})
	}
	return found
}

// dockerfileFaults checks what can be checked without building the image:
// sources of COPY exist, stages are known, and the last stage is an empty image
// that runs a binary of ours as a numeric user other than root, in a directory that
// is a volume and belongs to that user, because sngate.db is made there.
func dockerfileFaults(text string, exists func(path string) bool) []string {
	var faults []string
	fault := func(i instruction, format string, args ...any) {
		faults = append(faults, fmt.Sprintf("line %d: ", i.line)+fmt.Sprintf(format, args...))
	}
	var stages []string
	last := make(map[string]instruction) // of the last stage, by name
	var owned []string                   // "user directory" of COPY --chown in it
	for _, i := range instructions(text) {
		words := strings.Fields(i.args)
		switch i.name {
		case "FROM":
			clear(last)
			owned = nil
			if at := slices.Index(words, "AS"); at >= 0 && at+1 < len(words) {
				stages = append(stages, words[at+1])
			}
		case "RUN":
			if strings.HasPrefix(i.args, "--") || strings.HasPrefix(i.args, "<<") {
				fault(i, "RUN %s needs BuildKit", words[0])
			}
		case "COPY":
			for _, word := range words {
				if owner, ok := strings.CutPrefix(word, "--chown="); ok {
					owned = append(owned, owner+" "+words[len(words)-1])
				}
			}
			if from, ok := strings.CutPrefix(words[0], "--from="); ok {
				if !slices.Contains(stages, from) {
					fault(i, "COPY from unknown stage %q", from)
				}
				break
			}
			for _, source := range words[:len(words)-1] {
				if !exists(source) {
					fault(i, "COPY of %s, which does not exist", source)
				}
			}
		}
		last[i.name] = i
	}
	if last["FROM"].args != "scratch" {
		fault(last["FROM"], "the last stage is %q, not scratch", last["FROM"].args)
	}
	if m := regexp.MustCompile(`^(\d+):(\d+)$`).FindStringSubmatch(last["USER"].args); m == nil || m[1] == "0" || m[2] == "0" {
		fault(last["USER"], "USER %q is not a numeric user and group other than root", last["USER"].args)
	}
	if dir := last["WORKDIR"].args; dir == "" || last["VOLUME"].args != dir {
		fault(last["WORKDIR"], "the working directory %q is not the volume %q", dir, last["VOLUME"].args)
	} else if owner := last["USER"].args; !slices.Contains(owned, owner+" "+dir) {
		fault(last["WORKDIR"], "the working directory %q is not made for user %s by COPY --chown", dir, owner)
	}
	if want := `["/sngate"]`; last["ENTRYPOINT"].args != want {
		fault(last["ENTRYPOINT"], "ENTRYPOINT %s, want %s", last["ENTRYPOINT"].args, want)
	}
	if want := "1883/udp 1883/tcp 9883/tcp"; last["EXPOSE"].args != want {
		fault(last["EXPOSE"], "EXPOSE %s, want %s", last["EXPOSE"].args, want)
	}
	return faults
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(path)))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestDockerfileIsSound(t *testing.T) {
	exists := func(p string) bool {
		_, err := os.Stat(filepath.Join(root, p))
		return err == nil
	}
	wantNoFaults(t, dockerfileFaults(readFile(t, "Dockerfile"), exists))
}

func TestDockerfileFaultsAreFound(t *testing.T) {
	wantFaults(t, dockerfileFaults(`FROM golang AS build
COPY go.mod \
  gone.txt ./
FROM debian
COPY --from=other /x /x
USER nobody
EXPOSE 1883/udp
ENTRYPOINT /sngate
`, func(p string) bool { return p == "go.mod" }),
		"line 2: COPY of gone.txt", "line 5: COPY from unknown stage", "line 4: the last stage", "line 6: USER", "line 0: the working directory", "line 8: ENTRYPOINT", "line 7: EXPOSE")
	sound := "FROM golang AS build\nFROM scratch\nCOPY --from=build --chown=65532:65532 /a /a\nWORKDIR /a\nVOLUME /a\nUSER 65532:65532\nEXPOSE 1883/udp 1883/tcp 9883/tcp\nENTRYPOINT [\"/sngate\"]\n"
	wantFaults(t, dockerfileFaults(sound, nil))
	wantFaults(t, dockerfileFaults(strings.ReplaceAll(sound, "65532:65532", "0:0"), nil), "USER")
	wantFaults(t, dockerfileFaults(strings.Replace(sound, "--chown=65532:65532 ", "", 1), nil), "is not made for user 65532:65532")
	wantFaults(t, dockerfileFaults(strings.Replace(sound, "VOLUME /a", "VOLUME /b", 1), nil), "is not the volume")
	wantFaults(t, dockerfileFaults("FROM golang AS build\nRUN --mount=type=cache,target=/x true\n"+strings.TrimPrefix(sound, "FROM golang AS build\n"), nil), "line 2: RUN --mount=type=cache,target=/x needs BuildKit")
}

// TestDockerfileBuildIsStatic runs the build command of the Dockerfile, with
// the output elsewhere, and looks for what a dynamic binary would have: an
// image without a C library could not start it.
func TestDockerfileBuildIsStatic(t *testing.T) {
	var build string
	for _, i := range instructions(readFile(t, "Dockerfile")) {
		if i.name == "RUN" && strings.Contains(i.args, "go build") {
			build = i.args
		}
	}
	binary := filepath.Join(t.TempDir(), "sngate")
	m := regexp.MustCompile(`^CGO_ENABLED=0 go (build .*) -o /out/sngate (\./cmd/sngate)$`).FindStringSubmatch(build)
	if m == nil {
		t.Fatalf("build command %q, want CGO_ENABLED=0 go build ... -o /out/sngate ./cmd/sngate", build)
	}
	const commit = "0123456789abcdef0123456789abcdef01234567"
	args := append(splitQuoted(strings.ReplaceAll(m[1], "$COMMIT", commit)), "-o", binary, m[2])
	for _, flag := range []string{"-trimpath", "-s -w -X sngate/internal/version.commit=" + commit} {
		if !slices.Contains(args, flag) {
			t.Errorf("build command %q has no %q", build, flag)
		}
	}
	cmd := exec.Command("go", args...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64") // the image is for Linux wherever we are
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
	if data, err := os.ReadFile(binary); err != nil || !bytes.Contains(data, []byte(commit)) {
		t.Errorf("the binary does not know its commit (%v)", err)
	}
	f, err := elf.Open(binary)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("the binary has a %v segment: it is not static", p.Type)
		}
	}
	if libs, err := f.ImportedLibraries(); err == nil && len(libs) > 0 {
		t.Errorf("the binary needs %v", libs)
	}
}

// splitQuoted splits at spaces outside of double quotes.
func splitQuoted(s string) []string {
	var words []string
	for _, m := range regexp.MustCompile(`"([^"]*)"|(\S+)`).FindAllStringSubmatch(s, -1) {
		words = append(words, m[1]+m[2])
	}
	return words
}
