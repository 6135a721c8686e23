from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("ballast", "0001_initial")]

    operations = [
        migrations.CreateModel(
            name="UserChange",
            fields=[
                (
                    "id",
                    models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
                ),
                ("user_id", models.BigIntegerField()),
                ("version", models.BigIntegerField()),
            ],
            options={"db_table": "user_changes"},
        ),
    ]
