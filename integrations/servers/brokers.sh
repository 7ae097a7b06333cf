# Message brokers, for the tests of rumqttc, lapin and async-nats. Sourced by `with-servers`, of which it uses `install`,
# `skip`, `free_port`, `listens`, `$folder` and `servers`. Call `mosquitto`, `nats` and `rabbitmq`.
#
# The tests kill mosquitto and nats-server, so they start these themselves: here they are only installed.

mosquitto() {
    broker_program mosquitto mosquitto INTEGRATIONS_MOSQUITTO
}

nats() {
    broker_program nats-server nats-server INTEGRATIONS_NATS
}

# broker_program PACKAGE PROGRAM VARIABLE: puts the program's path into the variable.
broker_program() {
    local why program path=$PATH:/usr/sbin
    if ! program=$(PATH=$path type -P "$2"); then
        why=$(install "$1") || { skip "$1" "$why"; return; }
        program=$(PATH=$path type -P "$2") || { skip "$1" "there is no $2"; return; }
    fi
    export "$3=$program"
}

# RabbitMQ takes seconds to start, so the tests share one. They kill another one.
rabbitmq() {
    local why programs=/usr/lib/rabbitmq/bin mapper
    if [ ! -x $programs/rabbitmq-server ]; then
        why=$(install rabbitmq-server) || { skip RabbitMQ "$why"; return; }
    fi
    if [ "$(id -u)" != 0 ] || ! id rabbitmq >/dev/null 2>&1; then
        skip RabbitMQ "this is not root, or there is no user rabbitmq"
        return
    fi
    # Erlang's port mapper, which RabbitMQ would otherwise start as a daemon.
    mapper=$(free_port)
    ERL_EPMD_ADDRESS=127.0.0.1 ERL_EPMD_PORT=$mapper rabbitmq_user epmd >/dev/null 2>&1 &
    servers+=($!)
    listens "$mapper" $! || { skip RabbitMQ "epmd does not start"; return; }
    # One after the other: a port that is free now is taken when the node listens.
    local address
    rabbitmq_node shared && rabbitmq_ready shared && export INTEGRATIONS_RABBITMQ=$address &&
        rabbitmq_node doomed && rabbitmq_ready doomed &&
        export INTEGRATIONS_RABBITMQ_DOOMED=$address,${servers[-1]}
}

# The user that comes with the package.
rabbitmq_user() {
    exec setpriv --reuid rabbitmq --regid rabbitmq --clear-groups "$@"
}

# rabbitmq_node NAME: starts one. It listens on 127.0.0.1 only, and so does Erlang's distribution.
rabbitmq_node() {
    local home=$folder/rabbitmq-$1
    mkdir "$home" && : >"$home/empty" && free_port >"$home/port" && chown -R rabbitmq "$home" || return
    (cd "$home" && rabbitmq_user env -i HOME="$home" PATH="$PATH" LANG=C.UTF-8 \
        ERL_EPMD_ADDRESS=127.0.0.1 ERL_EPMD_PORT="$mapper" \
        RABBITMQ_NODENAME="integrations-$1@localhost" RABBITMQ_NODE_IP_ADDRESS=127.0.0.1 \
        RABBITMQ_NODE_PORT="$(cat "$home/port")" RABBITMQ_DIST_PORT="$(free_port)" \
        RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-kernel inet_dist_use_interface {127,0,0,1}" \
        RABBITMQ_CONF_ENV_FILE="$home/empty" RABBITMQ_CONFIG_FILE="$home/none" \
        RABBITMQ_ENABLED_PLUGINS_FILE="$home/plugins" RABBITMQ_PID_FILE="$home/pid" \
        RABBITMQ_MNESIA_BASE="$home/mnesia" RABBITMQ_LOG_BASE="$home/log" \
        $programs/rabbitmq-server) >"$home/output" 2>&1 &
    echo $! >"$home/shell"
}

# rabbitmq_ready NAME: waits for one, and sets `address`.
rabbitmq_ready() {
    local home=$folder/rabbitmq-$1 pid
    for _ in $(seq 240); do
        # Erlang writes its process's id early, and this line when it listens.
        if grep -qs 'Starting broker... completed' "$home/output"; then
            servers+=("$(cat "$home/pid")")
            address=127.0.0.1:$(cat "$home/port")
            return
        fi
        kill -0 "$(cat "$home/shell")" 2>/dev/null || break
        sleep 0.25
    done
    pid=$(cat "$home/pid" 2>/dev/null) && kill "$pid" 2>/dev/null
    skip RabbitMQ "it does not start: $(tail -n 1 "$home/output")"
    return 1
}
