package check

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
)

// Level tells how bad a finding is.
type Level string

// The levels. Only problems make a check fail. What is skipped could not be seen with the rights that there are: the message says
// who could.
const (
	OK      Level = "ok"
	Warning Level = "warning"
	Problem Level = "problem"
	Skipped Level = "skipped"
)

// Finding is one line of a report.
type Finding struct {
	Level Level `json:"level"`
	// Topic is what it is about, in a word or two: the same on every run.
	Topic string `json:"topic"`
	// Message says what is the case.
	Message string `json:"message"`
	// Action says what to do; empty for what is well.
	Action string `json:"action,omitempty"`
}

// Report is all that was found.
type Report struct {
	// Version is the operator's that looked.
	Version  string    `json:"version"`
	Findings []Finding `json:"findings"`
}

// Failed tells whether there is a problem.
func (r Report) Failed() bool {
	return slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Level == Problem })
}

// Text writes one line for each finding, and one that sums up.
func (r Report) Text(w io.Writer) error {
	counts := map[Level]int{}
	for _, finding := range r.Findings {
		counts[finding.Level]++
		line := fmt.Sprintf("%-8s %s: %s", finding.Level, finding.Topic, finding.Message)
		if finding.Action != "" {
			line += ". What to do: " + finding.Action
		}
		if _, err := fmt.Fprintln(w, line); err != nil {
			return fmt.Errorf("writing report: %w", err)
		}
	}
	_, err := fmt.Fprintf(w, "%d ok, %d warnings, %d problems, %d not visible with these rights\n", counts[OK], counts[Warning], counts[Problem], counts[Skipped])
	return err
}

// JSON writes the report as one document.
func (r Report) JSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(r)
}

func ok(topic, format string, args ...any) Finding {
	return Finding{Level: OK, Topic: topic, Message: fmt.Sprintf(format, args...)}
}

func (f Finding) at(level Level, action string) Finding {
	f.Level, f.Action = level, action
	return f
}

func found(topic, format string, args ...any) Finding { return ok(topic, format, args...) }
