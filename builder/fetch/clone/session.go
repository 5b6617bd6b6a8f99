package clone

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/go-git/go-git/v5/plumbing/format/pktline"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"
	"github.com/go-git/go-git/v5/plumbing/transport"

	"github.com/knit-dev/knit/functions/api/archive"
)

// session is a conversation with the upload-pack of a server: what it has, then
// one request. The readers are the server's words, without any bound.
type session interface {
	refs(ctx context.Context) (io.ReadCloser, error)
	pack(ctx context.Context, request []byte) (io.ReadCloser, error)
	io.Closer
}

// maxRefs is how much a server may say about its branches and tags, in bytes.
const maxRefs = 16 << 20

// readRefs reads the server's branches and tags.
func readRefs(ctx context.Context, s session) (refs *packp.AdvRefs, err error) {
	body, err := s.refs(ctx)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	defer recovered(&err)
	bounded := &io.LimitedReader{R: body, N: maxRefs}
	refs = packp.NewAdvRefs()
	err = refs.Decode(bounded)
	switch {
	case errors.Is(err, packp.ErrEmptyAdvRefs), err == nil && refs.IsEmpty() && refs.Head == nil:
		return nil, fmt.Errorf("%w: the repository is empty", ErrRefused)
	case err != nil && bounded.N <= 0:
		return nil, fmt.Errorf("%w: the server names more than %d bytes of branches and tags", archive.ErrTooLarge, maxRefs)
	case err != nil:
		return nil, serverError("read its branches and tags", err)
	}
	transport.FilterUnsupportedCapabilities(refs.Capabilities)
	return refs, nil
}

// ask requests the wanted objects and receives them.
func (c *cloner) ask(ctx context.Context, s session, can *capability.List, wanted selection) (*pack, error) {
	request := packp.NewUploadPackRequestFromCapabilities(can)
	request.Wants = wanted.objects
	if !wanted.history && can.Supports(capability.Shallow) {
		request.Depth = packp.DepthCommits(1)
		if err := request.Capabilities.Set(capability.Shallow); err != nil {
			return nil, err
		}
	}
	if can.Supports(capability.NoProgress) {
		if err := request.Capabilities.Set(capability.NoProgress); err != nil {
			return nil, err
		}
	}
	text, err := encode(request)
	if err != nil {
		return nil, err
	}
	body, err := s.pack(ctx, text)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	stream, err := decode(request, body)
	if err != nil {
		return nil, err
	}
	return c.store(stream)
}

func encode(request *packp.UploadPackRequest) ([]byte, error) {
	var out bytes.Buffer
	err := errors.Join(
		request.UploadRequest.Encode(&out),
		request.UploadHaves.Encode(&out, false),
		pktline.NewEncoder(&out).EncodeString("done\n"),
	)
	if err != nil {
		return nil, fmt.Errorf("write the request for the source: %w", err)
	}
	return out.Bytes(), nil
}

// decode finds the pack in the answer.
func decode(request *packp.UploadPackRequest, body io.ReadCloser) (stream io.Reader, err error) {
	defer recovered(&err)
	answer := packp.NewUploadPackResponse(request)
	if err := answer.Decode(body); err != nil {
		return nil, serverError("read its answer", err)
	}
	switch {
	case request.Capabilities.Supports(capability.Sideband64k):
		return sideband.NewDemuxer(sideband.Sideband64k, answer), nil
	case request.Capabilities.Supports(capability.Sideband):
		return sideband.NewDemuxer(sideband.Sideband, answer), nil
	}
	return answer, nil
}

// serverError says what was asked. What is about limits or addresses stays so.
func serverError(what string, err error) error {
	if errors.Is(err, archive.ErrTooLarge) || errors.Is(err, ErrRefused) || errors.Is(err, ErrServer) {
		return err
	}
	return fmt.Errorf("%w: %s: %w", ErrServer, what, err)
}

// recovered turns a panic of a parser into an error: a stranger's bytes must not
// end in a stack trace.
func recovered(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%w: it sent what cannot be read: %v", ErrServer, p)
	}
}
