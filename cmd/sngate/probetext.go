package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"sngate/internal/probe"
)

// probePrinter prints steps as they come.
type probePrinter struct {
	w    io.Writer
	part *probe.Part
}

func (l *probePrinter) step(p *probe.Part, s *probe.Step) {
	if s.Text == probe.NotTried {
		return
	}
	if l.part != p {
		if l.part != nil {
			fmt.Fprintln(l.w)
		}
		l.part = p
		fmt.Fprintf(l.w, "%s %s as %s\n", p.Name, shown(p.Address), shown(p.ClientID))
	}
	mark := map[probe.Result]string{probe.OK: "ok", probe.Warning: "WARNING", probe.Failed: "FAILED", probe.Skipped: "-"}[s.Result]
	took := ""
	if s.Result != probe.Skipped {
		took = milliseconds(s.Seconds)
	}
	fmt.Fprintf(l.w, "  %-8s %-12s %10s  %s\n", mark, s.Name, took, shown(s.Text))
	if s.Advice != "" {
		fmt.Fprintf(l.w, "  %-8s %-12s %10s  %s\n", "", "", "", shown(s.Advice))
	}
	if s.Name == probe.StepTLS && p.TLS != nil {
		for i, c := range p.TLS.Chain {
			fmt.Fprintf(l.w, "  %-8s %-12s %10s  %d: %s\n", "", "", "", i, shown(certificateLine(c)))
		}
	}
}

func milliseconds(seconds float64) string { return fmt.Sprintf("%.2f ms", seconds*1000) }

func certificateLine(c probe.Certificate) string {
	text := fmt.Sprintf("%s, issued by %s, valid until %s", orDash(c.Subject), orDash(c.Issuer), c.NotAfter.Format(time.DateTime))
	if len(c.Names) > 0 {
		text += ", for " + strings.Join(c.Names, ", ")
	}
	return text
}

// probeSummary is all in one line.
func probeSummary(r *probe.Report) string {
	if r.Result == probe.Skipped {
		return "UNKNOWN: nothing was probed"
	}
	if p, s := r.First(probe.Failed); s != nil {
		return shown(fmt.Sprintf("FAILED: %s %s: %s: %s", p.Name, p.Address, s.Name, s.Text))
	}
	var parts []string
	for _, p := range r.Parts() {
		text := p.Name + " " + p.Address
		switch {
		case p.Text != "":
			text += " not probed: " + p.Text
		case p.RoundTripSeconds != nil:
			text += " round trip " + milliseconds(*p.RoundTripSeconds)
		}
		parts = append(parts, text)
	}
	text := "OK: " + strings.Join(parts, "; ")
	if p, s := r.First(probe.Warning); s != nil {
		text = fmt.Sprintf("WARNING: %s %s: %s: %s", p.Name, p.Address, s.Name, s.Text)
	}
	return shown(text)
}
