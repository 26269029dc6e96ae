package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"
	"time"
)

// confirm asks a question on the terminal of the process and returns nil if the answer is yes. stdin may be something else.
func (a *app) confirm(ctx context.Context, question string) error {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return usagef("give --yes if you are sure", "no terminal to ask on: %s", question)
	}
	defer tty.Close()
	defer context.AfterFunc(ctx, func() { tty.SetReadDeadline(time.Unix(1, 0)) })()
	if _, err := fmt.Fprintf(tty, "%s [y/N] ", question); err != nil {
		return err
	}
	answer, err := bufio.NewReader(tty).ReadString('\n')
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if answer = strings.ToLower(strings.TrimSpace(answer)); err != nil || answer != "y" && answer != "yes" {
		return errNotConfirmed
	}
	return nil
}

// ask asks a question on the terminal of the process and returns the answer, or standard if it is empty. Without a terminal it is a
// usage error that names the flag. With no standard, an empty answer is one too.
func (a *app) ask(ctx context.Context, flag, question, standard string) (string, error) {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		first, _, _ := strings.Cut(question, "\n")
		return "", usagef("give --"+flag, "no terminal to ask on: %s", first)
	}
	defer tty.Close()
	defer context.AfterFunc(ctx, func() { tty.SetReadDeadline(time.Unix(1, 0)) })()
	prompt := question
	if standard != "" {
		prompt += " [" + standard + "]"
	}
	if _, err := fmt.Fprint(tty, prompt+" "); err != nil {
		return "", err
	}
	answer, err := bufio.NewReader(tty).ReadString('\n')
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	if answer = strings.TrimSpace(answer); err != nil || answer == "" {
		answer = standard
	}
	if answer == "" {
		return "", usagef("give --"+flag, "no answer")
	}
	return answer, nil
}
