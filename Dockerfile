# The agent and nothing else, for `COPY --from` into any image, and to run as it is.
#
#   docker build --tag pid1 .

FROM rust:1.95.0-bookworm AS build
WORKDIR /src
COPY . .
RUN make static && cp target/*/release/pid1 /pid1

FROM scratch
COPY --from=build /pid1 /pid1
ENTRYPOINT ["/pid1"]
